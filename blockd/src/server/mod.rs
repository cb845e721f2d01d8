//! Drives a replica on a reactor: sockets and disk.
