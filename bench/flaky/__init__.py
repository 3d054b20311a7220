"""What broken connections cost: clients that are cut, links that die, HEADs beside a PATCH; ours and the peers."""
