//! What lbdeck remembers on this machine (SQLite): operations and their journal, leases, audit.
