"""Tasks that are handed over at some tick → their blocks in the state, behind those before them.

What outlives a stream is made when it is first needed: a queue, the packets that may be alive.
"""

from dataclasses import dataclass

import numpy as np

from npusim.engine import layout as at
from npusim.engine.arena import NIL, Arena, offsets_of
from npusim.engine.space import Block
from npusim.engine.tables import NONE, SEND, Tasks, Wiring


@dataclass(frozen=True)
class Stream:
    """Tasks of one hand-over. Its groups are numbered from `first_group` on; `message_packets`:
    of all its messages."""

    first_group: int
    num_groups: int
    head: Block
    groups: Block
    tasks: Block
    successors: Block
    memory: Block  # in which the others lie
    message_packets: int


class Streams:
    """The streams that an arena holds, its queues and its packets."""

    def __init__(self, arena: Arena, wiring: Wiring):
        self.arena, self._wiring = arena, wiring
        self.live: list[Stream] = []
        self.queues: dict[int, int] = {}  # key → offset
        self._num_tasks = self._num_groups = self._num_packets = 0
        self._dma_cores: list[int] = []  # by DMA queue
        self._work = {place: Block(0, 0, 1) for place in (at.W_QUEUES, at.W_ACKS)}

    def add(self, tasks: Tasks, begin: int, group: np.ndarray) -> Stream:
        """Appends tasks to their queues; those without dependencies are ready at tick `begin`,
        which is to come. `group`: 0, 1, … by task."""
        queue_at = self._open_queues(tasks)
        stream = self._reserve(tasks, int(group.max(initial=-1)) + 1)
        self._fill(stream, tasks, queue_at, group)
        self._append(tasks, queue_at, stream.tasks)
        self._announce(stream, begin)
        self.live.append(stream)
        self._num_tasks += len(tasks)
        self._num_groups += stream.num_groups
        self._add_packets()
        return stream

    def drop(self, stream: Stream) -> None:
        """Gives back the memory of a stream whose tasks have all ended: nothing refers to them."""
        self.live.remove(stream)
        self.arena.give_back(stream.memory)

    def _open_queues(self, tasks: Tasks) -> np.ndarray:
        """Offset of each queue of the tasks; makes those that are not there yet."""
        keys = tasks.queue_keys.tolist()
        new = [row for row, key in enumerate(keys) if key not in self.queues]
        if new:
            block = self.arena.take(len(new), at.Q_SIZE)
            self._fill_queues(block, tasks, np.array(new))
            self.queues |= zip((keys[row] for row in new), block.offsets().tolist(), strict=True)
            for place in self._work:
                self._widen(place)
        return np.array([self.queues[key] for key in keys], np.int64)

    def _fill_queues(self, block: Block, t: Tasks, new: np.ndarray) -> None:
        w, cores, queues = self._wiring, t.queue_core[new], block.view(self.arena.words)
        columns = {
            at.Q_NEXT: NIL, at.Q_LAST: NIL, at.Q_TASK: NIL, at.Q_ENGINE: t.queue_engine[new],
            at.Q_CORE: offsets_of(self.arena.tables["cores"].first, cores, at.C_SIZE),
            at.Q_LIMIT: w.dma_outstanding[cores], at.Q_ISSUE_TICKS: w.dma_issue_ticks[cores],
            at.Q_UNIT_BYTES: w.dma_unit_bytes[cores],
        }  # fmt: skip
        queues[:] = 0
        for place, values in columns.items():
            queues[:, place] = values
        self._dma_cores += cores[t.queue_engine[new] != NONE].tolist()

    def _widen(self, place: int) -> None:
        """Makes room for all queues on a work list."""
        old, arena = self._work[place], self.arena
        new = self._work[place] = arena.take(len(self.queues))
        new.view(arena.words)[: old.count] = old.view(arena.words)
        arena.words[place] = new.first
        if old.count:
            arena.give_back(old)

    def _reserve(self, t: Tasks, num_groups: int) -> Stream:
        sizes = (
            (len(t), at.T_SIZE),
            (1, at.J_SIZE),
            (num_groups, at.S_SIZE),
            (len(t.dependents), 1),
        )
        memory = self.arena.take(sum(count * size for count, size in sizes))
        blocks, first = [], memory.first
        for count, size in sizes:
            blocks.append(Block(first, count, size))
            first += count * size
        tasks, head, groups, successors = blocks
        packets = _message_packets(self._wiring, t)
        return Stream(
            self._num_groups, num_groups, head, groups, tasks, successors, memory, packets
        )

    def _fill(self, stream: Stream, t: Tasks, queue_at: np.ndarray, group: np.ndarray) -> None:
        words = self.arena.words
        groups = stream.groups.view(words)
        groups[:, at.S_LEFT] = np.bincount(group, minlength=stream.num_groups)
        groups[:, at.S_NUMBER] = stream.first_group + np.arange(stream.num_groups)
        successors = offsets_of(stream.tasks.first, t.dependents, at.T_SIZE)
        stream.successors.view(words)[:, 0] = successors
        self._fill_tasks(stream, t, queue_at, group)

    def _fill_tasks(self, s: Stream, t: Tasks, queue_at: np.ndarray, group: np.ndarray) -> None:
        base = {name: block.first for name, block in self.arena.tables.items()}
        queue = np.append(queue_at, NIL)[t.queue]  # NONE is the last
        columns = {
            at.T_KIND: t.kind, at.T_CORE: offsets_of(base["cores"], t.core, at.C_SIZE),
            at.T_QUEUE: queue, at.T_TICKS: t.ticks, at.T_BYTES: t.bytes,
            at.T_NUMBER: self._num_tasks + np.arange(len(t)), at.T_NEXT: NIL,
            at.T_GROUP: offsets_of(s.groups.first, group, at.S_SIZE), at.T_WAITS: t.num_waits,
            at.T_LEFT: t.bytes, at.T_READY: NIL, at.T_START: NIL, at.T_END: NIL,
            at.T_SUCCESSORS: s.successors.first + t.dependents_start[:-1],
            at.T_SUCCESSORS_END: s.successors.first + t.dependents_start[1:],
            at.T_MATCH: offsets_of(s.tasks.first, t.match, at.T_SIZE),
            at.T_MEMORY: offsets_of(base["memories"], t.memory, at.M_SIZE),
            at.T_ADDRESS: t.address, at.T_ROW_BYTES: t.row_bytes, at.T_STRIDE: t.stride_bytes,
            at.T_POSTED: 0, at.T_ASKED: 0,
        }  # fmt: skip
        table = s.tasks.view(self.arena.words)
        for place, values in columns.items():
            table[:, place] = values

    def _append(self, t: Tasks, queue_at: np.ndarray, block: Block) -> None:
        """Chains the tasks of each queue, behind those that wait in it from before."""
        words = self.arena.words
        places = offsets_of(block.first, t.queue_tasks, at.T_SIZE)
        words[places[:-1] + at.T_NEXT] = places[1:]
        used = t.queue_start[1:] > t.queue_start[:-1]
        queues = queue_at[used]
        first, last = (places[i[used]] for i in (t.queue_start[:-1], t.queue_start[1:] - 1))
        words[last + at.T_NEXT] = NIL
        is_idle = words[queues + at.Q_NEXT] == NIL
        words[queues[is_idle] + at.Q_NEXT] = first[is_idle]
        words[words[queues[~is_idle] + at.Q_LAST] + at.T_NEXT] = first[~is_idle]
        words[queues + at.Q_LAST] = last

    def _announce(self, stream: Stream, begin: int) -> None:
        """Tells the kernel of the stream's begin."""
        words, head = self.arena.words, stream.head.first
        assert begin > words[at.NOW]
        words[head + at.J_TASKS] = stream.tasks.first
        words[head + at.J_TASKS_END] = stream.tasks.first + stream.tasks.num_words
        words[head + at.DUE] = begin
        words[head + at.NEXT_EVENT] = words[at.NEW]
        words[at.NEW] = head
        if words[at.FOLLOWING] == NIL:
            words[at.NOW] = begin - 1  # nothing happens before
            words[at.FOLLOWING] = begin
        words[at.FOLLOWING] = min(begin, words[at.FOLLOWING])

    def _add_packets(self) -> None:
        """Keeps as many packets as may be alive."""
        messages = sum(stream.message_packets for stream in self.live)
        lacking = _most_packets(self._wiring, self._dma_cores, messages) - self._num_packets
        if lacking > 0:
            self._use_up_fresh()
            block = self.arena.take(lacking, at.P_SIZE)
            self.arena.words[at.FRESH_PACKET] = block.first
            self.arena.words[at.FRESH_END] = block.first + block.num_words
            self._num_packets += lacking

    def _use_up_fresh(self) -> None:
        """Puts the packets that were never used on the free list."""
        words = self.arena.words
        fresh = np.arange(words[at.FRESH_PACKET], words[at.FRESH_END], at.P_SIZE)
        if len(fresh):
            words[fresh + at.P_NEXT] = np.append(fresh[1:], words[at.FREE_PACKET])
            words[at.FREE_PACKET] = fresh[0]


def _most_packets(w: Wiring, dma_cores: list[int], message_packets: int) -> int:
    """Most packets alive at once: units under way, handshakes, messages past their injection."""
    under_way = int(w.dma_outstanding[dma_cores].sum()) + 2 * len(dma_cores)
    room = w.num_vcs * (int(w.fifo_room.sum()) + w.num_links * w.buffer_packets)
    return under_way + min(room + 2 * w.num_links, message_packets) + 16


def _message_packets(w: Wiring, t: Tasks) -> int:
    """Packets of all messages together."""
    sizes = t.bytes[t.kind == SEND]
    size = np.clip(-(-sizes // w.packets_per_message), w.min_packet_bytes, w.max_packet_bytes)
    return int((-(-sizes // size)).sum())
