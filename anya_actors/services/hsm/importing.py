"""The sender's side of an import: material sealed in its own process, to the HSM's."""

from __future__ import annotations

from anya_actors.domain.hsm.material import KeyMaterial, pack_material
from anya_actors.domain.hsm.slots import KeyPlan
from anya_actors.domain.hsm.views import KeyView
from anya_actors.ports.actors import HSM, Actors
from anya_actors.ports.sealing import SealedBoxes


async def import_key(
    actors: Actors, boxes: SealedBoxes, plan: KeyPlan, material: KeyMaterial, *, message_id: str
) -> KeyView:
    """Have the HSM keep a key from outside; only its sealed form is in an argument or a message.

    Raises what `HsmService.import_key` raises; repeated with the same message id it imports once.
    """
    box = await _sealed(actors, boxes, material)
    arguments = (plan.name, plan.key_type, plan.owner, box, plan.operations, plan.policy)
    return _view(await actors.call(HSM, "import_key", *arguments, message_id=message_id))


async def import_version(
    actors: Actors, boxes: SealedBoxes, name: str, owner: str, material: KeyMaterial, *, message_id: str
) -> KeyView:
    """As `import_key`, of a new version of a key; raises what `HsmService.import_version` raises."""
    box = await _sealed(actors, boxes, material)
    return _view(await actors.call(HSM, "import_version", name, owner, box, message_id=message_id))


async def _sealed(actors: Actors, boxes: SealedBoxes, material: KeyMaterial) -> bytes:
    transport_key: bytes = await actors.call(HSM, "transport_key")
    with pack_material(material) as packed:
        return boxes.seal(packed, transport_key)


def _view(view: object) -> KeyView:
    if not isinstance(view, KeyView):
        raise TypeError(f"an import was answered with {type(view).__name__}")
    return view
