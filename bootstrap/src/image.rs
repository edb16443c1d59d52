//! Container images, written by ourselves so that the same input gives the same digest.
