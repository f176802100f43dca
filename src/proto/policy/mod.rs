//! The access policy: document, checks, and what it compiles to.
