"""Interlock: ten business services whose backends are chosen per service and switched while running."""
