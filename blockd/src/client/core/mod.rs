//! The writer's side for one volume, pure.
