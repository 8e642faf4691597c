"""notebook-fleet: change many ModelArts notebooks safely."""
