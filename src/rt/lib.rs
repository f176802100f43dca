//! The reactor: one thread, one epoll instance, one executor.
