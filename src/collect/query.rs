//! Questions to one node that are asked when somebody looks, not polled.

use std::time::Duration;

use crate::engine::{Engine, EngineError};
use crate::model::{Certificate, NodeName, NodeReading, Problem, ServerRef, Session, StickTable, StickTableEntry, Worker};

use super::Collector;

impl Collector {
    /// Sessions of one server, or of all, at most `limit`.
    pub async fn sessions(&self, node: &NodeName, of: Option<&ServerRef>, limit: usize) -> Result<Vec<Session>, Problem> {
        let engine = self.engine(node)?;
        let ability = engine.sessions().ok_or_else(|| self.missing(engine, "list sessions"))?;
        self.bounded(ability.sessions(of, limit, self.timeout)).await
    }

    pub async fn tables(&self, node: &NodeName) -> Result<Vec<StickTable>, Problem> {
        let engine = self.engine(node)?;
        let ability = engine.tables().ok_or_else(|| self.missing(engine, "show stick tables"))?;
        self.bounded(ability.tables(self.timeout)).await
    }

    pub async fn table_entries(&self, node: &NodeName, table: &str, limit: usize) -> Result<Vec<StickTableEntry>, Problem> {
        let engine = self.engine(node)?;
        let ability = engine.tables().ok_or_else(|| self.missing(engine, "show stick tables"))?;
        self.bounded(ability.entries(table, limit, self.timeout)).await
    }

    pub async fn certificates(&self, node: &NodeName) -> Result<Vec<Certificate>, Problem> {
        let engine = self.engine(node)?;
        let ability = engine.certificates().ok_or_else(|| self.missing(engine, "show certificates"))?;
        self.bounded(ability.certificates(self.timeout)).await
    }

    /// The processes of the master-worker family, old workers included.
    pub async fn workers(&self, node: &NodeName) -> Result<Vec<Worker>, Problem> {
        let engine = self.engine(node)?;
        let ability = engine.workers().ok_or_else(|| self.missing(engine, "show worker processes"))?;
        self.bounded(ability.workers(self.timeout)).await
    }

    /// The node itself, where an agent runs on it.
    pub async fn node_reading(&self, node: &NodeName) -> Result<NodeReading, Problem> {
        let engine = self.engine(node)?;
        let ability = engine.node_readings().ok_or_else(|| Problem {
            hint: Some("lbdeck's agent on the node can".into()),
            ..self.missing(engine, "read the node itself")
        })?;
        self.bounded(ability.reading(self.timeout)).await
    }

    fn engine(&self, node: &NodeName) -> Result<&dyn Engine, Problem> {
        let polled = self.nodes.iter().find(|n| n.handle.name() == node).ok_or_else(|| Problem {
            what: format!("no node is called '{node}'"),
            hint: Some("`lbdeck node list` shows the names".into()),
            retry: false,
        })?;
        polled.handle.engine.as_deref().ok_or_else(|| Problem {
            what: format!("{node}: no engine is configured on this node"),
            hint: Some("name one under engines: in the fleet file".into()),
            retry: false,
        })
    }

    fn missing(&self, engine: &dyn Engine, what: &str) -> Problem {
        Problem {
            what: format!("{}: {} reached by {} cannot {what}", engine.node(), engine.kind().label(), engine.source()),
            hint: Some("a statistics socket of level operator or admin can; see `lbdeck fleet check`".into()),
            retry: false,
        }
    }

    async fn bounded<T>(&self, asked: impl Future<Output = Result<T, EngineError>>) -> Result<T, Problem> {
        let most: Duration = self.timeout * 2;
        match tokio::time::timeout(most, asked).await {
            Ok(result) => result.map_err(|e| e.problem()),
            Err(_) => Err(Problem { what: format!("no answer within {most:?}"), hint: None, retry: true }),
        }
    }
}
