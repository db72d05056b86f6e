"""No room for a held link, over real sockets."""

import pytest

from popham.errors import LinkError
from popham.net.seam import FULL, Refusal

TAKEN = Refusal(status=503, retry_after=40, body=f"This Manager's links are all taken ({FULL})")


async def test_f_p5_who_finds_no_room_for_a_link_is_told_so_before_the_upgrade_and_may_still_make_a_round(
    serve, dial, service
):
    service.refuse = lambda peer, held, uid: TAKEN if held else None
    dialer = dial(await serve())
    with pytest.raises(LinkError) as found:
        await dialer.hold()
    assert (found.value.code, found.value.status, found.value.retry_after) == (FULL, 503, 40.0)
    assert service.handlers == []
    assert await dialer.exchange(b"report") == b"answer:report"


@pytest.mark.parametrize("status", [403, 429, 503])
async def test_f_p5_another_refusal_is_no_want_of_room(serve, dial, service, status):
    service.refuse = lambda peer, held, uid: Refusal(status=status, retry_after=3, body="not now")
    with pytest.raises(LinkError) as found:
        await dial(await serve()).hold()
    assert found.value.code != FULL
