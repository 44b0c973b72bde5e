"""What authors of backends test with: the conformance suite, hostile servers, fault injection.

- `interlock.testing.conformance`: the suite that every backend passes; inherit its classes in a pytest module.
- `interlock.testing.samples`: the entities it works on; register `TEST_ENTITIES` at the backend.
- `interlock.testing.hostile`: an HTTP server that misbehaves as told.
"""
