//! HAProxy by its statistics socket (runtime API) or its HTTP statistics page.
