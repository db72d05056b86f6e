"""What tests do with drafts."""

from tests.manager.conftest import ADMIN

from popham.manager.definitions import Terms
from popham.manager.drafts import SaveTerms
from popham.manager.grant import Grant, Role
from popham.model.documents import SourceFile

BOB = Grant(actor="bob", role=Role.ADMIN, source="192.0.2.9")
OWN = "{inheritance: {policies: {files: false}}, policies: {files: motd}}"


async def save(bench, *texts, name="spring", grant=ADMIN, **terms):
    files = [SourceFile(f"{number}.yaml", text) for number, text in enumerate(texts)]
    return await bench.service.save_draft(grant, name, files, terms=SaveTerms(**terms))


async def publish(bench, name="spring", grant=ADMIN, *, seen=None, **terms):
    return await bench.service.publish_draft(grant, name, seen=seen, terms=Terms(**terms))


async def texts(bench, name="spring"):
    view = await bench.service.draft(ADMIN, name)
    return {one.document: one.text for one in view.documents}


def actions(view):
    return {change.document: change.action for change in view.changes}
