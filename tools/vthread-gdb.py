# vthread-gdb.py - virtual threads in gdb: of a process, and of a core file.
#
#     info vthreads            every virtual thread: state, what it waits for,
#                              where it is
#     vthread N                look at thread N: bt, frame, info locals ...
#     vthread                  which one is looked at; "vthread off": none
#     vthread apply all CMD    a command for each; "vthread apply N N CMD"
#
# gdb loads it by itself where libvthread is installed below gdb's own prefix;
# else: source /usr/share/gdb/auto-load/.../libvthread.so.0.0.0-gdb.py
#
# N is the number in the first column, or the whole handle.  The first frames
# stay those of the place where the OS thread is that gdb has selected, and bt
# leaves them out: those of the virtual thread begin with #1 or so, as is said.
# One that is mounted is looked at by selecting its OS thread.
#
# Nothing is written into the process.  Frames of a thread that lie in its
# chunks are walked there; but gdb reads locals where the stack was, and there
# are others' frames now: "info vthreads" marks such threads with a star, and
# bt leaves their arguments out.
#
# Where everything is in memory the library tells: vthread_layout, see
# src/inspect/layout.h.

import itertools
import re
import struct

import gdb
from gdb.FrameDecorator import FrameDecorator
from gdb.unwinder import Unwinder

LAYOUT_VERSION = 1

# DWARF numbers of what a switch saves, and how gdb calls them.
REGISTERS = {
    "i386:x86-64": {
        "names": {3: "rbx", 6: "rbp", 12: "r12", 13: "r13", 14: "r14",
                  15: "r15", 16: "rip"},
        "sp": "rsp", "pc": "rip",
    },
    "aarch64": {
        "names": dict([(i, "x%d" % i) for i in range(19, 30)]
                      + [(30, "pc")]
                      + [(64 + i, "d%d" % i) for i in range(8, 16)]),
        "sp": "sp", "pc": "pc",
    },
    "riscv:rv64": {
        "names": dict([(i, "x%d" % i) for i in [8, 9] + list(range(18, 28))]
                      + [(1, "pc")]),
        "sp": "sp", "pc": "pc",
    },
}

KINDS_OF_WAIT = {
    "FOR_UNPARK": "waits to be unparked", "FOR_TIME": "sleeps",
    "FOR_END": "waits for the end of", "FOR_CHANNEL": "waits at a channel",
    "FOR_SEVERAL": "waits for one of several", "FOR_FUTURE":
    "waits for a future", "FOR_SCOPE": "waits for the threads of a scope",
    "FOR_DESCRIPTOR": "waits for a descriptor", "FOR_POLL":
    "waits for descriptors", "FOR_FILE": "waits for a file",
    "FOR_SIGNAL": "waits for a signal", "FOR_CALL":
    "waits for a foreign call", "FOR_CERTAIN": "is being woken",
}

KINDS_OF_LIST = {
    "WAIT_MUTEX": "mutex", "WAIT_COND": "condition", "WAIT_SEMAPHORE":
    "semaphore", "WAIT_LATCH": "latch", "WAIT_ONCE": "once", "WAIT_BARRIER":
    "barrier", "WAIT_RWLOCK": "rwlock", "WAIT_SCOPE": "scope", "WAIT_SLOT":
    "slot",
}

KINDS_OF_LOCK = {
    "VTHREAD_HOLD_MUTEX": "pthread mutex", "VTHREAD_HOLD_READ":
    "pthread rwlock", "VTHREAD_HOLD_WRITE": "pthread rwlock",
    "VTHREAD_HOLD_COND": "pthread condition", "VTHREAD_HOLD_OTHER": "lock",
}

FRAMES_MAX = 256


# ---- Memory ----------------------------------------------------------------

def read(address, size):
    return bytes(gdb.selected_inferior().read_memory(address, size))


def read_number(address, size):
    return int.from_bytes(read(address, size), "little")


class Layout:
    """Where everything is, as the library says."""

    HEADER = "<24sIIQ16sII"

    def __init__(self):
        try:
            address = int(gdb.parse_and_eval("(long)&vthread_layout"))
            header = read(address, struct.calcsize(self.HEADER))
        except gdb.error:
            raise gdb.GdbError("There is no libvthread in this program, or "
                               "it does not run.")
        (magic, version, entry_bytes, _, library, count,
         _) = struct.unpack(self.HEADER, header)
        self.library = library.rstrip(b"\0").decode()
        if magic.rstrip(b"\0") != b"libvthread layout" \
                or version != LAYOUT_VERSION:
            raise gdb.GdbError("libvthread %s is of another version than "
                               "this script." % self.library)
        self.entries = {}
        table = read(address + len(header), count * entry_bytes)
        for i in range(count):
            name, size, _, value = struct.unpack_from("<40sIIQ", table,
                                                      i * entry_bytes)
            self.entries[name.rstrip(b"\0").decode()] = (value, size)

    def value(self, name):
        if name not in self.entries:
            raise gdb.GdbError("libvthread %s does not tell of '%s'."
                               % (self.library, name))
        return self.entries[name][0]

    def field(self, name, copy, at=0):
        """A number out of the copy of an object."""
        offset, size = self.value(name), self.entries[name][1]
        return int.from_bytes(copy[at + offset:at + offset + size], "little")

    def peek(self, name, address):
        """The same of an object in the process."""
        return read_number(address + self.value(name),
                           self.entries[name][1])


# ---- Threads ---------------------------------------------------------------

class Thread:
    def __init__(self, process, number, copy):
        layout = process.layout
        self.process = process
        self.number = number
        self.copy = copy
        word = layout.field("thread.word", copy)
        self.handle = word >> 32 << 32 | number
        self.word = word & 0xffffffff
        self.address = process.table + number * layout.value("sizeof thread")
        self.base = layout.value("thread.continuation")
        self.name = self.read_name()

    def has(self, flag):
        return bool(self.word & self.process.layout.value(flag))

    def field(self, name):
        return self.process.layout.field("thread." + name, self.copy)

    def of_continuation(self, name):
        return self.process.layout.field("continuation." + name, self.copy,
                                         self.base)

    def read_name(self):
        layout = self.process.layout
        extra = self.field("extra")
        if not extra:
            return ""
        offset, size = layout.entries["thread_extra.name"]
        return read(extra + offset, size).split(b"\0")[0].decode(
            errors="replace")

    def waits(self):
        return self.has("THREAD_PARKED") or self.has("THREAD_WAITING")

    def os_thread(self):
        if self.has("THREAD_PLATFORM"):
            return self.field("argument")
        return self.process.mounted.get(self.address, 0)

    def is_unmounted(self):
        state = self.of_continuation("state")
        return not self.has("THREAD_PLATFORM") and not self.has(
            "THREAD_DONE") and self.address not in self.process.mounted \
            and state == self.process.layout.value("CONTINUATION_UNMOUNTED")

    def is_frozen(self):
        return self.is_unmounted() and self.of_continuation(
            "frozen_bytes") > 0

    def state(self):
        layout = self.process.layout
        if self.has("THREAD_DONE"):
            return "ended"
        if self.has("THREAD_PLATFORM"):
            return "platform"
        if self.address in self.process.wants:
            return "pinned"
        if self.waits():
            return "pinned" if self.has("THREAD_KERNEL") else "parked"
        if self.address in self.process.mounted:
            return "running"
        if self.of_continuation("state") == layout.value("CONTINUATION_NEW"):
            return "new"
        return "runnable"

    def wait(self):
        layout = self.process.layout
        kind = self.field("waits_for")
        on = self.field("wait_on") & ~1
        if self.address in self.process.wants:
            return "waits for " + self.process.lock_in_words(
                *self.process.wants[self.address])
        if not self.waits():
            return ""
        if kind == layout.value("FOR_LISTED"):
            return "waits for " + self.process.list_in_words(on)
        words = [text for name, text in KINDS_OF_WAIT.items()
                 if layout.value(name) == kind]
        text = words[0] if words else "waits"
        if kind == layout.value("FOR_END"):
            text += " " + self.process.thread_in_words(
                self.process.number_at(on))
        return text

    def in_words(self):
        return "%d%s" % (self.number, " '%s'" % self.name
                         if self.name else "")

    def entry(self):
        return 0 if self.has("THREAD_PLATFORM") else self.field("fn")

    # What it would go on with.

    def frames(self):
        """Where its frames begin, and their bytes."""
        return self.process.frames_of(self.address + self.base)


class Process:
    """A look at the process as it stands still now."""

    def __init__(self):
        self.layout = Layout()
        self.table = read_number(self.layout.value("&thread_table"), 8)
        self.slots = self.read_slots()
        self.mounted = {}  # address of a thread: number of the OS thread
        self.inner = {}    # and the innermost continuation
        self.wants = {}    # address of a thread: tracked lock, and its kind
        self.holders = {}  # address of a tracked lock: that of a thread
        if self.table:
            self.read_schedulers()
            self.read_held()

    def read_slots(self):
        layout, slots = self.layout, []
        for i in range(layout.value("SWITCH_SLOTS")):
            at = layout.value("&switch_slots") \
                + i * layout.value("sizeof switch_slot")
            slots.append((layout.peek("switch_slot.dwarf_number", at),
                          layout.peek("switch_slot.offset", at)))
        return slots

    def read_schedulers(self):
        layout = self.layout
        table = layout.value("&scheduler_table")
        for i in range(1, layout.value("SCHEDULERS_MAX") + 1):
            scheduler = read_number(table + 8 * i, 8)
            pool = layout.peek("vthread_scheduler.pool",
                               scheduler) if scheduler else 0
            count = layout.peek("pool.count", pool) if pool else 0
            for j in range(count):
                station = scheduler \
                    + layout.value("vthread_scheduler.stations") \
                    + j * layout.value("sizeof station")
                self.read_station(station)

    def read_station(self, station):
        layout = self.layout
        os_thread = layout.peek("station.os_thread", station)
        local = layout.peek("station.local", station)
        thread = layout.peek("local.thread", local) if os_thread else 0
        if thread:
            mount_point = layout.peek("station.counts", station) \
                - layout.value("mount_point.counts")
            self.mounted[thread] = os_thread
            self.inner[thread] = layout.peek("mount_point.current",
                                             mount_point)

    def read_held(self):
        layout = self.layout
        held = read_number(layout.value("&held_tables"), 8)
        while held:
            if layout.peek("held.os_thread", held):
                self.read_table(held)
            held = layout.peek("held.next", held)

    def read_table(self, held):
        layout = self.layout
        wanted = layout.peek("held.wanted", held)
        if wanted:
            self.wants[layout.peek("held.wanter", held)] = (
                wanted, layout.peek("held.wanted_kind", held))
        for i in range(layout.peek("held.count", held)):
            entry = held + layout.value("held.entries") \
                + i * layout.value("sizeof held_entry")
            lock = layout.peek("held_entry.object", entry)
            if layout.peek("held_entry.kind", entry) \
                    != layout.value("VTHREAD_HOLD_PIN") \
                    and layout.peek("held_entry.given", entry) != lock:
                self.holders[lock] = layout.peek("held_entry.owner", entry)

    # Threads.

    def count(self):
        return read_number(self.layout.value("&thread_table_numbers"),
                           4) if self.table else 0

    def thread(self, number):
        """None: there is no such thread."""
        if not 0 < number < self.count():
            return None
        size = self.layout.value("sizeof thread")
        return self.made(number, read(self.table + number * size, size))

    def made(self, number, copy):
        word = self.layout.field("thread.word", copy)
        if word >> 32 == 0 or word & self.layout.value("THREAD_FREE"):
            return None
        return Thread(self, number, copy)

    def threads(self):
        size, count, step = self.layout.value("sizeof thread"), \
            self.count(), 4096
        for first in range(1, count, step):
            last = min(first + step, count)
            block = read(self.table + first * size, (last - first) * size)
            for number in range(first, last):
                at = (number - first) * size
                thread = self.made(number, block[at:at + size])
                if thread:
                    yield thread

    def number_at(self, address):
        return (address - self.table) // self.layout.value("sizeof thread")

    def thread_in_words(self, number):
        thread = self.thread(number)
        return "thread " + (thread.in_words() if thread else str(number))

    def list_in_words(self, address):
        layout = self.layout
        around = read(address - 8, 16)
        kind = struct.unpack_from("<I", around, 12)[0] \
            >> layout.value("THREAD_NUMBER_BITS")
        word, second = struct.unpack_from("<II", around, 0)
        names = [text for name, text in KINDS_OF_LIST.items()
                 if layout.value(name) == kind]
        name, before, holder = names[0] if names else "something", 8, 0
        if name in ("semaphore", "latch"):
            before = 4
        elif name in ("scope", "slot", "something"):
            before = 0
        elif name == "mutex":
            holder = word >> layout.value("MUTEX_HOLDER_SHIFT")
        elif name == "once":
            holder = word >> layout.value("ONCE_RUNNER_SHIFT")
        elif name == "rwlock" and word & layout.value("RWLOCK_WRITER"):
            holder = second
        text = "%s %#x" % (name, address - before)
        return text + (" held by " + self.thread_in_words(holder)
                       if holder else "")

    def lock_in_words(self, address, kind):
        names = [text for name, text in KINDS_OF_LOCK.items()
                 if self.layout.value(name) == kind]
        holder = self.holders.get(address)
        text = "%s %#x" % (names[0] if names else "lock", address)
        return text + (" held by " + self.thread_in_words(
            self.number_at(holder)) if holder else "")

    # Frames of a continuation that is not mounted.

    def frames_of(self, continuation):
        layout = self.layout
        sp = layout.peek("continuation.sp", continuation)
        home = layout.peek("continuation.home", continuation)
        top = layout.peek("run_stack.top", home)
        frozen = layout.peek("continuation.frozen_bytes", continuation)
        if not frozen:
            return sp, read(sp, top - sp)
        kind = layout.peek("continuation.kind", continuation)
        inside = min(frozen, layout.peek("continuation_kind.inline_bytes",
                                         kind))
        place = continuation + layout.peek("continuation_kind.inline_offset",
                                           kind)
        frames = read(place, inside)
        if frozen > inside:
            chunk = layout.peek("continuation.chunk", continuation)
            frames += read(chunk + layout.value("sizeof chunk"),
                           frozen - inside)
        return sp, frames


# ---- Looking at one --------------------------------------------------------

def machine():
    name = gdb.selected_inferior().architecture().name()
    if name not in REGISTERS:
        raise gdb.GdbError("This script does not know the processor %s."
                           % name)
    return REGISTERS[name]


class VirtualThreadUnwinder(Unwinder):
    """Says what is "below" a frame: what follows is a table from the stack
    pointer and pc of a frame to the registers of its caller."""

    def __init__(self):
        super().__init__("libvthread")
        self.callers = {}
        self.frozen = set()  # those of the frames that are in chunks
        self.thread = None  # that is looked at
        self.first = 0      # the level of its first frame

    def clear(self):
        if self.callers or self.thread:
            self.callers = {}
            self.frozen = set()
            self.thread = None
            self.first = 0
            gdb.invalidate_cached_frames()

    def __call__(self, pending_frame):
        if not self.callers:
            return None
        names = machine()
        sp = pending_frame.read_register(names["sp"])
        pc = pending_frame.read_register(names["pc"])
        caller = self.callers.get((int(sp) & (1 << 64) - 1,
                                   int(pc) & (1 << 64) - 1))
        if caller is None:
            return None
        unwind_info = pending_frame.create_unwind_info(FrameId(sp, pc))
        kind = gdb.lookup_type("unsigned long")
        for name, value in caller.items():
            unwind_info.add_saved_register(name, gdb.Value(value).cast(kind))
        return unwind_info


class FrameId:
    def __init__(self, sp, pc):
        self.sp = sp
        self.pc = pc


class FrozenFrame(FrameDecorator):
    """One whose arguments are not where gdb would read them."""

    def frame_args(self):
        return None


class VirtualThreadFilter:
    """Leaves out the frames of the OS thread, and arguments that are others'
    memory now."""

    def __init__(self):
        self.name = "libvthread"
        self.priority = 100
        self.enabled = True
        gdb.frame_filters[self.name] = self

    def filter(self, frames):
        return map(self.decorate, itertools.islice(frames, unwinder.first,
                                                   None))

    @staticmethod
    def decorate(frame):
        return FrozenFrame(frame) if unwinder.frozen and key_at(
            frame.inferior_frame()) in unwinder.frozen else frame


unwinder = VirtualThreadUnwinder()
VirtualThreadFilter()
gdb.unwinder.register_unwinder(None, unwinder, replace=True)
gdb.events.cont.connect(lambda event: unwinder.clear())


def switched_registers(process, sp, frames):
    names = machine()
    registers = {}
    for number, offset in process.slots:
        if number in names["names"]:
            registers[names["names"][number]] = struct.unpack_from(
                "<Q", frames, offset)[0]
    registers[names["sp"]] = sp + process.layout.value("SWITCH_FRAME_BYTES")
    return registers


def key_of(registers):
    names = machine()
    return registers[names["sp"]], registers[names["pc"]]


def select_level(level):
    """Selects the frame; False: there is none of that level."""
    frame = gdb.newest_frame()
    for _ in range(level):
        frame = frame.older() if frame else None
    if not frame:
        return False
    frame.select()
    return True


def frame_of(key):
    """The function's frame with that sp and pc, not that of what was inlined
    there."""
    frame = gdb.newest_frame()
    for _ in range(FRAMES_MAX):
        if not frame or (frame.type() != gdb.INLINE_FRAME
                         and key_at(frame) == key):
            return frame
        frame = frame.older()
    return None


def walk_frozen(process, sp, frames, registers):
    """Tells the unwinder of each caller.  gdb knows where a frame has saved
    its caller's registers; what is there is read from the chunks."""
    names = machine()
    for _ in range(FRAMES_MAX):
        gdb.invalidate_cached_frames()
        frame = frame_of(key_of(registers))
        if not frame:
            return
        unwinder.frozen.add(key_of(registers))
        frame.select()
        text = gdb.execute("info frame", to_string=True)
        before = re.search(r"Previous frame's sp is (0x[0-9a-f]+)", text)
        saved = dict(re.findall(r"(\w+) at (0x[0-9a-f]+)", text.split(
            "Saved registers:")[-1]))
        if not before or names["pc"] not in saved:
            return
        caller = dict(registers)
        for name, address in saved.items():
            offset = int(address, 16) - sp
            if 0 <= offset <= len(frames) - 8:
                caller[name] = struct.unpack_from("<Q", frames, offset)[0]
        caller[names["sp"]] = int(before.group(1), 16)
        if not 0 < caller[names["sp"]] - sp <= len(frames):
            return
        unwinder.callers[key_of(registers)] = caller
        registers = caller


def key_at(frame):
    names = machine()
    return tuple(int(frame.read_register(names[name])) & (1 << 64) - 1
                 for name in ("sp", "pc"))


def outermost():
    frame = gdb.newest_frame()
    while frame.older():
        frame = frame.older()
    return frame


def count_real():
    """Frames of the OS thread that stay: its innermost function, and what was
    inlined there."""
    frame, count = gdb.newest_frame(), 0
    while frame and frame.type() == gdb.INLINE_FRAME:
        frame, count = frame.older(), count + 1
    return count + 1


def add_chain(process, inner, own):
    """What ran the continuation `inner`, up to the thread's own: each goes on
    where it has switched away."""
    while inner and inner != own:
        inner = process.layout.peek("continuation.link", inner)
        if not inner:
            return
        sp, frames = process.frames_of(inner)
        registers = switched_registers(process, sp, frames)
        unwinder.callers[key_at(outermost())] = registers
        gdb.invalidate_cached_frames()
        if process.layout.peek("continuation.frozen_bytes", inner):
            walk_frozen(process, sp, frames, registers)
            gdb.invalidate_cached_frames()


def look_at(thread):
    """Selects the thread.  Returns the level at which its frames begin; None:
    it has none."""
    process = thread.process
    unwinder.clear()
    os_thread = thread.os_thread()
    if os_thread:
        for known in gdb.selected_inferior().threads():
            if known.ptid[1] == os_thread:
                known.switch()
                gdb.newest_frame().select()
                unwinder.thread = thread
                return 0
        return None
    if not thread.is_unmounted():
        return None
    own = thread.address + thread.base
    inner = thread.of_continuation("link") or own
    sp, frames = process.frames_of(inner)
    registers = switched_registers(process, sp, frames)
    unwinder.first = count_real()
    unwinder.callers[key_at(gdb.newest_frame())] = registers
    unwinder.thread = thread
    gdb.invalidate_cached_frames()
    if process.layout.peek("continuation.frozen_bytes", inner):
        walk_frozen(process, sp, frames, registers)
    gdb.invalidate_cached_frames()
    if inner != own:
        add_chain(process, inner, own)
    select_level(unwinder.first)
    return unwinder.first


# ---- Commands --------------------------------------------------------------

def function_at(address):
    block = gdb.execute("info symbol %#x" % address, to_string=True)
    return block.split(" in section")[0].split(" + ")[0] \
        if " in section" in block else "%#x" % address


class InfoVthreads(gdb.Command):
    """Every virtual thread: number, state, OS thread, what it waits for, and
the function that it began with.  A star: its frames are in its chunks."""

    def __init__(self):
        super().__init__("info vthreads", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        process = Process()
        print("  %-8s %-9s %-9s %-28s %s" % ("Number", "State", "OS thread",
                                             "Entry function", "Waits for"))
        for thread in process.threads():
            mark = "*" if thread.is_frozen() else " "
            entry = function_at(thread.entry()) if thread.entry() else "-"
            name = "'%s' " % thread.name if thread.name else ""
            print("%s %-8d %-9s %-9s %-28s %s%s" % (
                mark, thread.number, thread.state(),
                thread.os_thread() or "-", entry, name, thread.wait()))


class Vthread(gdb.Command):
    """Looks at a virtual thread.

vthread N                    bt, frame, info locals are about thread N
vthread off                  about the OS thread again
vthread apply all COMMAND    a command for each thread
vthread apply N N COMMAND    for those"""

    def __init__(self):
        super().__init__("vthread", gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        words = argument.split()
        if not words:
            thread = unwinder.thread
            print("Virtual thread %s" % thread.in_words() if thread
                  else "No virtual thread is looked at.")
        elif words[0] == "off":
            unwinder.clear()
        elif words[0] == "apply":
            self.apply(words[1:])
        else:
            thread = self.find(Process(), words[0])
            level = look_at(thread)
            if level is None:
                raise gdb.GdbError("Virtual thread %s has no frames: it is "
                                   "%s." % (thread.in_words(),
                                            thread.state()))
            print("Virtual thread %s, %s%s; its frames begin with #%d"
                  % (thread.in_words(), thread.state(),
                     ": " + thread.wait() if thread.wait() else "", level))
            if thread.is_frozen():
                print("Its frames are in its chunks: locals cannot be seen.")
            gdb.execute("frame")

    @staticmethod
    def find(process, text):
        if not text.isdigit():
            raise gdb.GdbError("'%s' is no thread's number." % text)
        thread = process.thread(int(text) & 0xffffffff)
        if not thread or int(text) >> 32 and int(text) != thread.handle:
            raise gdb.GdbError("There is no virtual thread %s." % text)
        return thread

    def apply(self, words):
        process = Process()
        selected = gdb.selected_thread()
        if words and words[0] == "all":
            threads, words = list(process.threads()), words[1:]
        else:
            threads = []
            while words and words[0].isdigit():
                threads.append(self.find(process, words[0]))
                words = words[1:]
        if not threads or not words:
            raise gdb.GdbError("vthread apply all COMMAND, or "
                               "vthread apply N... COMMAND")
        try:
            for thread in threads:
                self.apply_to(thread, " ".join(words), selected)
        finally:
            unwinder.clear()
            selected.switch()

    @staticmethod
    def apply_to(thread, command, selected):
        unwinder.clear()
        selected.switch()
        print("\nVirtual thread %s (%s%s):"
              % (thread.in_words(), thread.state(),
                 ", " + thread.wait() if thread.wait() else ""))
        level = look_at(thread)
        if level is None:
            entry = thread.entry()
            print("No frames; it begins with %s." % function_at(entry)
                  if entry else "No frames.")
            return
        try:
            gdb.execute(command)
        except gdb.error as error:
            print(error)


InfoVthreads()
Vthread()
