//! The log of one disk.
