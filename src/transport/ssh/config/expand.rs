//! `%` tokens, `~` and `${VARIABLE}` in values of the configuration.

use std::path::PathBuf;

use sha1::{Digest, Sha1};

/// What the tokens stand for.
#[derive(Debug)]
pub struct Tokens<'a> {
    /// `%d` and `~`.
    pub home: &'a str,
    /// `%h`: the name or address that is connected to.
    pub host: &'a str,
    /// `%n`: the name as it was asked for.
    pub alias: &'a str,
    /// `%k`: HostKeyAlias, else the host.
    pub key_alias: &'a str,
    /// `%p`.
    pub port: u16,
    /// `%r`.
    pub user: &'a str,
    /// `%u`.
    pub local_user: &'a str,
    /// `%i`.
    pub uid: u32,
    /// `%l`; its first label is `%L`.
    pub local_host: &'a str,
    /// `%j`.
    pub jump: &'a str,
}

impl Tokens<'_> {
    /// # Errors
    /// An unknown token or variable, in words.
    pub fn expand(&self, text: &str) -> Result<String, String> {
        self.replace(text, true)
    }

    /// Tokens only: in a command, variables are the shell's business.
    pub fn expand_percent(&self, text: &str) -> Result<String, String> {
        self.replace(text, false)
    }

    fn replace(&self, text: &str, variables: bool) -> Result<String, String> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(['%', '$']) {
            let (before, token) = rest.split_at(at);
            out.push_str(before);
            if let Some(tail) = token.strip_prefix("${").filter(|_| variables) {
                let (name, tail) = tail.split_once('}').ok_or_else(|| format!("'${{' is not closed in '{text}'"))?;
                out.push_str(&std::env::var(name).map_err(|_| format!("the environment has no {name} (in '{text}')"))?);
                rest = tail;
                continue;
            }
            let mut chars = token.chars();
            if chars.next() == Some('$') {
                out.push('$');
            } else {
                self.push(chars.next(), &mut out).ok_or_else(|| format!("unknown % token in '{text}'"))?;
            }
            rest = chars.as_str();
        }
        out.push_str(rest);
        Ok(out)
    }

    /// A path: tokens, and `~` at the start.
    pub fn path(&self, text: &str) -> Result<PathBuf, String> {
        let text = self.expand(text)?;
        Ok(match text.strip_prefix('~') {
            Some("") => PathBuf::from(self.home),
            Some(rest) if rest.starts_with('/') => PathBuf::from(format!("{}{rest}", self.home)),
            _ => PathBuf::from(text),
        })
    }

    fn push(&self, token: Option<char>, out: &mut String) -> Option<()> {
        match token? {
            '%' => out.push('%'),
            'd' => out.push_str(self.home),
            'h' => out.push_str(self.host),
            'n' => out.push_str(self.alias),
            'k' => out.push_str(self.key_alias),
            'p' => out.push_str(&self.port.to_string()),
            'r' => out.push_str(self.user),
            'u' => out.push_str(self.local_user),
            'i' => out.push_str(&self.uid.to_string()),
            'l' => out.push_str(self.local_host),
            'L' => out.push_str(self.local_host.split('.').next().unwrap_or_default()),
            'j' => out.push_str(self.jump),
            'C' => {
                let hash = Sha1::digest(format!("{}{}{}{}{}", self.local_host, self.host, self.port, self.user, self.jump));
                hash.iter().for_each(|b| out.push_str(&format!("{b:02x}")));
            }
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_home() {
        let tokens = Tokens {
            home: "/home/ana",
            host: "10.0.0.1",
            alias: "lb1",
            key_alias: "lb1-key",
            port: 2222,
            user: "ops",
            local_user: "ana",
            uid: 1000,
            local_host: "desk.example",
            jump: "",
        };
        assert_eq!(tokens.path("~/.ssh/%r@%h:%p").unwrap(), PathBuf::from("/home/ana/.ssh/ops@10.0.0.1:2222"));
        assert_eq!(tokens.expand("%d %n %k %u %i %l %L 100%%").unwrap(), "/home/ana lb1 lb1-key ana 1000 desk.example desk 100%");
        assert_eq!(tokens.expand("%C").unwrap().len(), 40);
        assert!(tokens.expand("a%z").unwrap_err().contains("unknown % token"));
        assert!(tokens.expand("a%").is_err());
        assert!(tokens.expand("${LBDECK_NO_SUCH_VARIABLE}/x").unwrap_err().contains("LBDECK_NO_SUCH_VARIABLE"));
        assert_eq!(tokens.path("~root/x").unwrap(), PathBuf::from("~root/x"));
    }
}
