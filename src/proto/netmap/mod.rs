//! What one node is told of its tailnet, as the bytes of map responses.
