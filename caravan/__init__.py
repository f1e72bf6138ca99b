"""The door for people, and the local machine room; nobody imports it."""
