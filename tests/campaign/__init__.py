"""The campaign: damaged inputs and faults by the thousand against the whole product, see `tests.campaign.__main__`."""
