"""Run by gdb: every thread's physical frames as JSON, {tid: [pc, ...]}."""

import json

import gdb

gdb.execute("set backtrace past-main on")
gdb.execute("set backtrace limit unlimited")
found = {}
for thread in gdb.selected_inferior().threads():
    thread.switch()
    frame, pcs = gdb.newest_frame(), []
    while frame is not None:
        if frame.type() not in (gdb.INLINE_FRAME, gdb.TAILCALL_FRAME):
            pcs.append(frame.pc())
        try:
            frame = frame.older()
        except gdb.error:
            break
    found[thread.ptid[1]] = pcs
print("FRAMES " + json.dumps(found))
