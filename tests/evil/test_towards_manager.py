"""An evil Proxy Manager towards the Manager above it: only what agents signed changes what is known of them."""

from .blows import blows
from .siege import besiege


def test_sec_30_a_proxy_cannot_say_what_agents_did_not_sign(keys):
    counts = besiege(keys, blows(("said", "forged", "result")), least=300)
    assert counts["told"] > 10


def test_sec_29_frames_of_agents_are_kept_as_they_were_signed_or_not_at_all(keys):
    besiege(keys, blows(("frames", "frames", "said")), least=250)


def test_sec_30_no_agent_is_admitted_and_no_certificate_made_but_for_its_own_key(keys):
    counts = besiege(keys, blows(("call", "asked")), least=200)
    assert counts["answered"] > 10
    assert counts["grant.proxy"] > 10


def test_sec_31_whatever_a_proxy_sends_the_manager_stays_up_and_serves_others(keys):
    besiege(keys, blows(), least=250)
