//! `lbdeck fleet` as a script and a person use it, on real sshd and haproxy, with each fault that it must name and mend.

mod check;
mod init;
mod show;
