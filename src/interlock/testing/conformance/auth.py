"""Logging in: by password, with tokens that rotate, telling nobody who has an account."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from interlock.abilities import Authenticates, RecoversAccounts, Session
from interlock.errors import InterlockError, Invalid, Unauthenticated
from interlock.identifiers import new_id
from interlock.testing.conformance.base import Suite
from interlock.testing.harness import Login, Subject

__all__ = ["AccountsConformance", "AuthConformance"]


class AuthConformance(Suite):
    """For backends with the ability `Authenticates`; the subject says who can log in."""

    @pytest.fixture
    def login(self, subject: Subject) -> Login:
        """Somebody who can log in."""
        assert subject.login is not None, "the Subject of AuthConformance needs a `login`"
        return subject.login

    async def test_a_login_says_who_it_is(self, subject: Subject, login: Login) -> None:
        session = await subject.ability(Authenticates).login(login.email, login.password)
        assert session.identity == login.identity
        assert session.access_token
        assert session.refresh_token
        assert session.expires_at > datetime.now(UTC)

    async def test_addresses_have_no_case(self, subject: Subject, login: Login) -> None:
        session = await subject.ability(Authenticates).login(login.email.upper(), login.password)
        assert session.identity.user_id == login.identity.user_id

    async def test_nothing_tells_an_unknown_user_from_a_wrong_password(self, subject: Subject, login: Login) -> None:
        auth = subject.ability(Authenticates)
        messages = set()
        for email, password in (
            (login.email, "wrong"),
            (login.email, login.password + "x"),
            (f"nobody-{new_id()}@example.test", login.password),
            (f"nobody-{new_id()}@example.test", "wrong"),
        ):
            with pytest.raises(Unauthenticated) as found:
                await auth.login(email, password)
            messages.add(found.value.message)
        assert len(messages) == 1

    async def test_passwords_have_case_and_spaces(self, subject: Subject, login: Login) -> None:
        for password in (login.password.swapcase(), f" {login.password}", f"{login.password} "):
            with pytest.raises(Unauthenticated):
                await subject.ability(Authenticates).login(login.email, password)

    async def test_a_session_is_refreshed_and_the_token_rotates(self, subject: Subject, login: Login) -> None:
        auth = subject.ability(Authenticates)
        first = await auth.login(login.email, login.password)
        second = await auth.refresh(first.refresh_token)
        assert second.identity == first.identity
        assert second.refresh_token != first.refresh_token
        with pytest.raises(Unauthenticated):
            await auth.refresh(first.refresh_token)

    async def test_a_session_that_was_left_is_not_refreshed(self, subject: Subject, login: Login) -> None:
        auth = subject.ability(Authenticates)
        session = await auth.login(login.email, login.password)
        await auth.logout(session)
        with pytest.raises(Unauthenticated):
            await auth.refresh(session.refresh_token)

    async def test_sessions_are_independent(self, subject: Subject, login: Login) -> None:
        auth = subject.ability(Authenticates)
        one, two = [await auth.login(login.email, login.password) for _ in range(2)]
        await auth.logout(one)
        assert (await auth.refresh(two.refresh_token)).identity == login.identity

    @pytest.mark.parametrize("token", ["", "nonsense", "a.b.c", "é🎉", "x" * 5000], ids=range(5))
    async def test_what_is_no_refresh_token_is_refused(self, subject: Subject, token: str) -> None:
        with pytest.raises((Unauthenticated, Invalid)):
            await subject.ability(Authenticates).refresh(token)

    async def test_an_access_token_is_no_refresh_token(self, subject: Subject, login: Login) -> None:
        auth = subject.ability(Authenticates)
        session = await auth.login(login.email, login.password)
        with pytest.raises((Unauthenticated, Invalid)):
            await auth.refresh(session.access_token)

    async def test_tokens_do_not_show(self, subject: Subject, login: Login) -> None:
        session: Session = await subject.ability(Authenticates).login(login.email, login.password)
        assert session.access_token not in repr(session)
        assert session.refresh_token not in repr(session)


class AccountsConformance(Suite):
    """For backends with the ability `RecoversAccounts`."""

    async def test_nobody_learns_who_has_an_account(self, subject: Subject) -> None:
        accounts = subject.ability(RecoversAccounts)
        for email in (f"nobody-{new_id()}@example.test", subject.login.email if subject.login else "a@example.test"):
            await accounts.request_magic_link(email)
            await accounts.request_password_reset(email)

    @pytest.mark.parametrize("token", ["", "nonsense", "a.b.c"], ids=range(3))
    async def test_a_link_that_was_never_sent_is_refused(self, subject: Subject, token: str) -> None:
        accounts = subject.ability(RecoversAccounts)
        with pytest.raises((Unauthenticated, Invalid)):
            await accounts.redeem_magic_link(token)
        with pytest.raises((Unauthenticated, Invalid)):
            await accounts.reset_password(token, "a long enough password 1")

    async def test_signing_up_with_a_taken_address_changes_nothing(self, subject: Subject) -> None:
        if subject.login is None or not subject.has(Authenticates):
            raise AssertionError("the Subject of AccountsConformance needs a `login` and the ability Authenticates")
        login = subject.login
        try:
            await subject.ability(RecoversAccounts).sign_up(
                login.email, "another password 1!", "Impostor", login.identity.tenant_id
            )
        except InterlockError as error:
            assert login.email not in error.message  # noqa: PT017 - refusing is allowed, telling is not
        session = await subject.ability(Authenticates).login(login.email, login.password)
        assert session.identity == login.identity
        with pytest.raises(Unauthenticated):
            await subject.ability(Authenticates).login(login.email, "another password 1!")
