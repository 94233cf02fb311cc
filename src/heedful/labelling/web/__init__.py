"""The labelling application in the browser, and its JSON interface."""
