"""The fast engine's state is one int64 array; here are the names of its words.

An entity (link, FIFO, packet, …) is a block of words and is known by the offset of its block, so a
reference is a plain integer: `A[link + L_BUSY]`. Blocks of what can have an event pending start
with the same three words; the offset is then also the event. Tables start at cache lines. Offsets
of FIFOs and links grow with their numbers, so comparing offsets compares numbers; tasks come and go
and carry theirs (T_NUMBER).
"""

NIL = -1
LONG_AGO = -(1 << 60)
SPAN_GAP_TICKS = 64
WHEEL_SLOTS = 4096

# Globals, at the start of the array.
(
    NOW, EVENTS, FREE_PACKET, CHAIN, BIN_SHIFT, NUM_SPANS, LAST_TICK,
    FRESH_PACKET, FRESH_END,  # packets that were never used, one behind the other
    NEW,  # streams whose begin is still to be put on the wheel, chained by NEXT_EVENT
    ENDED,  # groups that ended in this tick, chained by S_NEXT
    FOLLOWING,  # the next tick in which something happens, NIL: none
    KHZ, NUM_CORES, NUM_VCS, LOCKED, LOCK_ACK, FIFO_ARBITRATION, HANDSHAKE, HEADER, MIN_PACKET,
    MAX_PACKET, PACKETS_PER_MESSAGE, KEEP_SPANS, NUM_ROUTERS, NUM_NODES,
    # bases of the tables
    LINKS, FIRST_SOURCE, CHANNELS, CORES, ROUTE, NUM_LINKS, NUM_CHANNELS,
    # work lists of the phases: number of entries, base
    N_QUEUES, W_QUEUES, N_PORTS, W_PORTS, N_ACKS, W_ACKS, N_LINKS, W_LINKS, N_CHANNELS, W_CHANNELS,
    # locks: messages have the last VC; others heed locks; one was released in this tick;
    # acknowledges that wait from before
    SPLIT_VCS, LOCKS_STOP_ALL, UNLOCKED, N_OLD_ACKS,
    MIXED_WIDTHS,  # links differ in width
    RINGS,  # there are links that are part of a ring
    N_CREDITS, W_CREDITS,  # FIFOs that get room back in the next tick: offset << 32 | how much
) = range(51)  # fmt: skip
SLOTS = 64
OCCUPIED = SLOTS + WHEEL_SLOTS
HEADER_WORDS = OCCUPIED + WHEEL_SLOTS // 64

# First words of links, channels, queues, streams and packets; kinds of events.
EVENT, NEXT_EVENT, DUE = range(3)
TAIL_LEFT, CHANNEL_OPEN, COMPUTE_OVER, DMA_TIMER, BEGIN = range(5)
AT_ROUTER, AT_NODE, AT_CHANNEL, DATA_READY, PORT_DONE = range(5, 10)

# What a hop touches stands in the first 8 words, one cache line.
(
    L_BUSY, L_TOUCHED, L_WISHES, L_ROUTER, L_FROM,
    L_LAST, L_OWNER, L_FIFOS, L_EJECT_FREE, L_WIDTH, L_TICKS, L_PACKET, L_NODE,
    L_BYTES, L_BUSY_TICKS, L_PACKETS, L_WAIT, L_BINS, L_LEFT, L_UNLOCK, L_NUMBER,
    L_SPAN_TASK, L_SPAN_START, L_SPAN_END, L_SPAN_BYTES, L_RING,
) = range(3, 29)  # fmt: skip
L_SIZE = 32

F_FIRST, F_LAST, F_FREE, F_UP_LINK, F_ROUTER, F_OUT_LINK, F_NEXT_WISH, F_STREAMING = range(8)
F_SIZE = 8

# Packet kinds.
LOAD_REQUEST, STORE_DATA, ASK, LOAD_DATA, STORE_ACK, MESSAGE, ACK = range(7)
FIRST_RESPONSE_KIND = LOAD_DATA  # this and later ones use the response network
# P_TICK: when it made its wish known, or arrived at the channel's queue.
(
    P_NEXT, P_KIND, P_NODE, P_WIRE, P_FIFO,
    P_TASK, P_TICK, P_KEY, P_PAYLOAD, P_CORE, P_QUEUE, P_ENGINE, P_SINCE,
    P_CHANNEL, P_ADDRESS, P_BANK, P_ROW, P_PREV,
) = range(3, 21)  # fmt: skip
P_SIZE = 24

# Q_NEXT: the first task that has not been taken, chained by T_NEXT up to Q_LAST.
(
    Q_NEXT, Q_LAST, Q_TASK, Q_CORE, Q_ENGINE, Q_BUSY, Q_TOUCHED, Q_TIMER, Q_ASKED, Q_ANSWERED,
    Q_UNDER_WAY, Q_LIMIT, Q_ISSUE_TICKS, Q_NEXT_ISSUE, Q_UNIT_BYTES, Q_OFFSET, Q_INDEX, Q_PACKET,
    Q_START, Q_SEEN,
) = range(3, 23)  # fmt: skip
Q_SIZE = 24

# C_SOURCES: request-network FIFO of each engine, then response-network FIFO of each; C_ACKS: FIFO.
MAX_ENGINES = 32
(
    C_NUM, C_DEN, C_FREE, C_BYTES, C_BUSY_TICKS, C_STRETCH, C_FIRST, C_TOUCHED, C_NODE, C_ACKS,
    C_SOURCES,
) = range(11)  # fmt: skip
C_SIZE = C_SOURCES + 2 * MAX_ENGINES

# What stands still, what changes, what only transfers have: a cache line each. T_NEXT: the task
# behind it in its queue; of one that has ended, the next whose successors are to be told.
(
    T_KIND, T_CORE, T_QUEUE, T_TICKS, T_BYTES, T_NUMBER, T_NEXT, T_GROUP,
    T_WAITS, T_LEFT, T_READY, T_START, T_END, T_SUCCESSORS, T_SUCCESSORS_END, T_MATCH,
    T_MEMORY, T_ADDRESS, T_ROW_BYTES, T_STRIDE, T_POSTED, T_ASKED,
) = range(22)  # fmt: skip
T_SIZE = 24
INDEX_BITS = 28  # of a unit's key, below the number of its task

# A stream: tasks that are handed over together and begin together. Its groups: tasks whose last end
# is announced.
J_TASKS, J_TASKS_END = range(3, 5)
J_SIZE = 8
S_LEFT, S_NEXT, S_NUMBER = range(3)
S_SIZE = 4

M_FIRST_CHANNEL, M_NUM_CHANNELS, M_INTERLEAVE = range(3)
M_SIZE = 3

# Channels (DRAM): times in ps. K_ for "kanal"; B_ for a bank, G_ for a bank group.
TIMINGS = ("t_rcd", "t_rcd_wr", "t_rp", "t_cl", "t_cwl", "t_ras", "t_rrd", "t_rrd_l", "t_faw",
           "t_ccd_l", "t_rtp", "t_wtr", "t_wtr_l", "t_rtw", "t_wr", "t_refi", "t_rfc",
           "t_cmd")  # fmt: skip
(
    K_TRCD, K_TRCD_WR, K_TRP, K_TCL, K_TCWL, K_TRAS, K_TRRD, K_TRRD_L, K_TFAW, K_TCCD_L, K_TRTP,
    K_TWTR, K_TWTR_L, K_TRTW, K_TWR, K_TREFI, K_TRFC, K_TCMD,
    K_NODE, K_SOURCE, K_WINDOW, K_NUM_BANKS, K_BANKS, K_NUM_SETS, K_SPREAD, K_BLOCK_BURSTS,
    K_REQUEST_TICKS, K_RESPONSE_TICKS, K_MB_S, K_BURST_PS, K_BURST_BYTES, K_RUN_BYTES,
    K_FIRST, K_LAST, K_OPEN, K_TOUCHED, K_DIRECTION, K_PASSED, K_OLDEST, K_NUM_ACTS, K_BUS_FREE,
    K_DATA_END, K_LEAD, K_AHEAD, K_FIRST_AHEAD, K_NUM_AHEAD, K_NEXT_REFRESH, K_LAST_READY,
    K_READ_BYTES, K_WRITE_BYTES,
    K_BUSY, K_REQUESTS, K_HITS, K_MISSES, K_SUM_REQUEST, K_SUM_QUEUE, K_SUM_SERVICE,
    K_SUM_RESPONSE,
    K_SPAN_TASK, K_SPAN_START, K_SPAN_END, K_SPAN_BYTES, K_BINS, K_ACTS,
) = range(3, 67)  # fmt: skip
K_SIZE = 72

# B_FREE: when an open bank may be precharged, a closed one activated.
B_ROW, B_COLUMN_OK, B_FREE, B_GROUP = range(4)
B_SIZE = 4

G_ACT, G_COLUMN_OK, G_WRITTEN = range(3)
G_SIZE = 4

SPAN_WORDS = 5  # a row of the span buffer: track, task, start_ps, end_ps, bytes
