"""A host app with every kind of relation to a user, installed by the tests of guest data only."""
