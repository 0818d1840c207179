//! The command line: one file a verb, one printer, one table of exit codes. Never touches `engine` or `transport`.
