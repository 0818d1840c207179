//! The relay's layer 7: heads of messages, HTTP/1.1 and HTTP/2, and the path of a request from a client to a server and back.

pub mod head;
pub mod http1;
