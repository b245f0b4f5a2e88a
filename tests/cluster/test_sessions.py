"""Where a client's session was at last."""

from __future__ import annotations

from corral.cluster.sessions import KEPT_S, Sessions


def test_a_session_of_a_model_is_remembered_for_a_time() -> None:
    sessions = Sessions()
    sessions.keep("s", "m", "a", 0)
    assert sessions.node_of("s", "m", KEPT_S) == "a"
    assert sessions.node_of("s", "m", KEPT_S + 1) == ""
    assert sessions.node_of("s", "other", 0) == ""
    assert sessions.node_of("other", "m", 0) == ""
    sessions.keep("s", "m", "b", 10)
    assert sessions.node_of("s", "m", KEPT_S + 1) == "b"


def test_no_session_is_not_a_session() -> None:
    sessions = Sessions()
    sessions.keep("", "m", "a", 0)
    assert sessions.node_of("", "m", 0) == ""
    assert len(sessions) == 0


def test_names_do_not_run_together() -> None:
    sessions = Sessions()
    sessions.keep("bc", "a", "x", 0)
    assert sessions.node_of("c", "ab", 0) == ""


def test_a_node_that_leaves_takes_its_sessions_along() -> None:
    sessions = Sessions()
    sessions.keep("s", "m", "a", 0)
    sessions.keep("t", "m", "b", 0)
    sessions.forget_node("a")
    assert (sessions.node_of("s", "m", 0), sessions.node_of("t", "m", 0)) == ("", "b")


def test_bounded_whatever_clients_send() -> None:
    sessions = Sessions(max_sessions=3)
    for i in range(10):
        sessions.keep(str(i) * 10_000, "m", "a", 0)
        sessions.keep("\ud800", "m", "a", 0)
    assert len(sessions) == 3
    assert sessions.node_of("9" * 10_000, "m", 0) == "a"
    assert sessions.node_of("0" * 10_000, "m", 0) == ""
