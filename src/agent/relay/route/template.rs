//! Text with variables (`{client}`, `{request_id}` …) for header values, redirects and fixed responses, parsed once.

use std::fmt::Write as _;
use std::net::SocketAddr;

/// What variables stand for in one request.
#[derive(Clone, Copy, Debug)]
pub struct Vars<'a> {
    /// The client, behind trusted proxies the one that they name.
    pub client: SocketAddr,
    pub listener: &'a str,
    pub route: &'a str,
    /// Empty where no server has been picked (fixed responses, redirects).
    pub pool: &'a str,
    pub server: &'a str,
    pub tls: bool,
    pub method: &'a str,
    /// Host without its port.
    pub host: &'a str,
    /// Path as the client wrote it.
    pub path: &'a str,
    pub query: Option<&'a str>,
    pub request_id: &'a str,
}

/// Every variable with what it stands for: the documentation's table and the reader's errors come from here.
pub const VARIABLES: &[(&str, &str)] = &[
    ("client", "address of the client"),
    ("client_port", "port of the client"),
    ("host", "host that was asked for, without its port"),
    ("listener", "name of the listener"),
    ("method", "method of the request"),
    ("path", "path as the client wrote it"),
    ("pool", "name of the pool, empty where none was picked"),
    ("query", "query without its '?', empty where there is none"),
    ("request_id", "id of the request"),
    ("route", "name of the route"),
    ("scheme", "http or https, as the client came"),
    ("server", "name of the server, empty where none was picked"),
    ("uri", "path and query as the client wrote them"),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Variable {
    Client,
    ClientPort,
    Host,
    Listener,
    Method,
    Path,
    Pool,
    Query,
    RequestId,
    Route,
    Scheme,
    Server,
    Uri,
}

impl Variable {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "client" => Self::Client,
            "client_port" => Self::ClientPort,
            "host" => Self::Host,
            "listener" => Self::Listener,
            "method" => Self::Method,
            "path" => Self::Path,
            "pool" => Self::Pool,
            "query" => Self::Query,
            "request_id" => Self::RequestId,
            "route" => Self::Route,
            "scheme" => Self::Scheme,
            "server" => Self::Server,
            "uri" => Self::Uri,
            _ => return None,
        })
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(Box<str>),
    Variable(Variable),
}

/// Text with variables. `{{` and `}}` stand for braces.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Template(Box<[Piece]>);

impl Template {
    /// Errors name the variable that is not known, or the brace that is not closed.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at(at);
            literal.push_str(before);
            if let Some(after) = brace.strip_prefix("{{") {
                literal.push('{');
                rest = after;
            } else if let Some(after) = brace.strip_prefix("}}") {
                literal.push('}');
                rest = after;
            } else if brace.starts_with('}') {
                return Err("a '}' closes nothing; write '}}' for the character".to_owned());
            } else {
                let Some((name, after)) = brace.get(1..).and_then(|b| b.split_once('}')) else {
                    return Err("a '{' is not closed; write '{{' for the character".to_owned());
                };
                let Some(variable) = Variable::named(name) else {
                    let meant = crate::config::nearest(name, VARIABLES.iter().map(|(n, _)| *n));
                    let known: Vec<&str> = VARIABLES.iter().map(|(n, _)| *n).collect();
                    let hint =
                        meant.map_or_else(|| format!("variables: {}", known.join(", ")), |m| format!("did you mean '{{{m}}}'?"));
                    return Err(format!("there is no variable '{{{name}}}'; {hint}"));
                };
                if !literal.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut literal).into()));
                }
                pieces.push(Piece::Variable(variable));
                rest = after;
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal.into()));
        }
        Ok(Self(pieces.into()))
    }

    /// The text, where there is no variable in it.
    pub fn as_literal(&self) -> Option<&str> {
        match &*self.0 {
            [] => Some(""),
            [Piece::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Appends the text with every variable replaced.
    pub fn write(&self, vars: &Vars<'_>, to: &mut String) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => to.push_str(text),
                Piece::Variable(variable) => write_variable(*variable, vars, to),
            }
        }
    }

    pub fn render(&self, vars: &Vars<'_>) -> String {
        let mut text = String::new();
        self.write(vars, &mut text);
        text
    }
}

fn write_variable(variable: Variable, vars: &Vars<'_>, to: &mut String) {
    match variable {
        // Writing to a String cannot fail.
        Variable::Client => drop(write!(to, "{}", vars.client.ip().to_canonical())),
        Variable::ClientPort => drop(write!(to, "{}", vars.client.port())),
        Variable::Host => to.push_str(vars.host),
        Variable::Listener => to.push_str(vars.listener),
        Variable::Method => to.push_str(vars.method),
        Variable::Path => to.push_str(vars.path),
        Variable::Pool => to.push_str(vars.pool),
        Variable::Query => to.push_str(vars.query.unwrap_or_default()),
        Variable::RequestId => to.push_str(vars.request_id),
        Variable::Route => to.push_str(vars.route),
        Variable::Scheme => to.push_str(if vars.tls { "https" } else { "http" }),
        Variable::Server => to.push_str(vars.server),
        Variable::Uri => {
            to.push_str(vars.path);
            if let Some(query) = vars.query {
                to.push('?');
                to.push_str(query);
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn vars() -> Vars<'static> {
        Vars {
            client: "192.0.2.7:4711".parse().unwrap(),
            listener: "web",
            route: "api",
            pool: "blue",
            server: "b1",
            tls: true,
            method: "GET",
            host: "example.org",
            path: "/a",
            query: Some("b=c"),
            request_id: "0192-x",
        }
    }

    #[test]
    fn every_variable_is_known_and_written() {
        let all: String = VARIABLES.iter().map(|(name, _)| format!("{{{name}}} ")).collect();
        let shown = Template::parse(&all).unwrap().render(&vars());
        assert_eq!(shown, "192.0.2.7 4711 example.org web GET /a blue b=c 0192-x api https b1 /a?b=c ");
    }

    #[test]
    fn braces_are_escaped_by_doubling() {
        assert_eq!(Template::parse("{{{host}}} }}").unwrap().render(&vars()), "{example.org} }");
        assert_eq!(Template::parse("plain").unwrap().as_literal(), Some("plain"));
        assert_eq!(Template::parse("{host}").unwrap().as_literal(), None);
    }

    #[test]
    fn errors_say_what_was_meant() {
        assert!(Template::parse("{clent}").unwrap_err().contains("did you mean '{client}'?"));
        assert!(Template::parse("{xyzzy}").unwrap_err().contains("variables: client, "));
        assert!(Template::parse("{host").unwrap_err().contains("not closed"));
        assert!(Template::parse("host}").unwrap_err().contains("closes nothing"));
    }
}
