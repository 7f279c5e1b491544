"""A chip in which nothing happens any more → who waits for what, one line an item."""

from collections.abc import Iterator

from npusim.engine.reference.chip import Chip
from npusim.engine.reference.link import Link
from npusim.engine.reference.queues import Queue
from npusim.engine.tables import NONE, RECV, SEND

KIND_NAMES = ("compute", "load", "store", "send", "recv", "sync")


def who_waits(chip: Chip, queues: list[Queue]) -> list[str]:
    """Empty when all tasks have ended."""
    if (chip.ledger.end != NONE).all():
        return []
    unfinished = [task for task in range(len(chip.tasks)) if chip.ledger.end[task] == NONE]
    lines = [_started(chip, task) for task in unfinished if chip.ledger.ready[task] != NONE]
    lines += _queue_heads(chip, queues)
    lines += [line for link in chip.network.links for line in _link(link)]
    return lines


def _started(chip: Chip, task: int) -> str:
    """A task that is ready but not over."""
    tasks, ledger, kind = chip.tasks, chip.ledger, int(chip.tasks.kind[task])
    where = f"core {tasks.core[task]}: {KIND_NAMES[kind]} task {task}"
    if kind not in (SEND, RECV):
        verb = "waits for its data" if ledger.start[task] != NONE else "waits for its queue"
        return f"{where} ({tasks.bytes[task]} B) {verb}"
    peer = tasks.core[tasks.match[task]]
    if kind == RECV:
        return f"{where} ({tasks.bytes[task]} B from core {peer}) waits for its message"
    where = f"{where} ({tasks.bytes[task]} B to core {peer})"
    message = chip.messages.of_send[task]
    if ledger.start[task] == NONE:
        return f"{where} waits for its queue"
    if message.requested and not message.posted:
        return f"{where} waits for core {peer}'s receive"
    return f"{where} waits in the network"


def _queue_heads(chip: Chip, queues: list[Queue]) -> Iterator[str]:
    """Queues whose next task is not ready."""
    for queue in queues:
        task = queue.current
        if task is not None and chip.ledger.ready[task] == NONE:
            name, left = KIND_NAMES[int(chip.tasks.kind[task])], chip.ledger.waits_for(task)
            yield f"core {queue.core}: {name} task {task} waits for {left} other tasks"


def _link(link: Link) -> Iterator[str]:
    """A link that somebody wishes for."""
    wanted = ", ".join(str(fifo.packets[0].task) for fifo in link.wishes)
    if link.wishes and link.lock.owner is not None:
        owner = link.lock.owner
        yield f"link {link.name}: locked by the message of task {owner}, wanted by task {wanted}"
    elif link.wishes:
        yield f"link {link.name}: no free slot at its end, wanted by task {wanted}"
