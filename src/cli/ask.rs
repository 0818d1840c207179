//! Questions that go to each selected node when somebody looks (tables, certificates), side by side.

use std::time::Instant;

use futures::future::join_all;

use super::context::{Look, Origin, unread};
use super::printer::Unread;
use crate::model::{Health, NodeName, Problem};

/// The answers of the nodes that could be read, and who gave none. Ages are those of the answers.
pub async fn ask_nodes<'a, T, F>(look: &'a Look, ask: impl Fn(&'a NodeName) -> F) -> (Vec<(Origin<'a>, T)>, Vec<Unread>)
where
    F: Future<Output = Result<T, Problem>>,
{
    let questions = look.fresh().map(|(node, obs)| {
        let answer = ask(&node.meta.name);
        async move { (node, obs, answer.await, Instant::now()) }
    });
    let answers = join_all(questions).await;
    let (mut known, mut missing) = (Vec::new(), look.unread());
    for (node, obs, answer, at) in answers {
        match answer {
            Ok(answer) => known.push((Origin::at(node, obs, at), answer)),
            Err(problem) => missing.push(unread(&node.meta.name, Health::Stale, &problem)),
        }
    }
    (known, missing)
}
