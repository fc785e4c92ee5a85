/*
 * opcodes.h - the instructions: name, operand, how many values it pops and
 * pushes, and the file that performs it, or the interpreter's loop.  Whoever
 * includes this defines OP.
 */
/* clang-format off */
OP(push, NUMBER, 0, 1, loop)            OP(text, TEXT, 0, 1, loop)
OP(callback, CALLBACK, 0, 1, loop)      OP(null, NOTHING, 0, 1, loop)
OP(load, LOCAL, 0, 1, loop)             OP(store, LOCAL, 1, 0, loop)
OP(inc, LOCAL_NUMBER, 0, 0, loop)       OP(dup, NOTHING, 1, 2, loop)
OP(pop, NOTHING, 1, 0, loop)            OP(add, NOTHING, 2, 1, loop)
OP(sub, NOTHING, 2, 1, loop)            OP(jump, LABEL, 0, 0, loop)
OP(jlt, LABEL, 2, 0, loop)              OP(jeq, LABEL, 2, 0, loop)
OP(jne, LABEL, 2, 0, loop)              OP(call, FUNCTION, VARIES, 1, loop)
OP(return, NOTHING, 1, 0, loop)         OP(mul, NOTHING, 2, 1, object)
OP(div, NOTHING, 2, 1, object)          OP(mod, NOTHING, 2, 1, object)
OP(new, CLASS, 0, 1, object)            OP(get, FIELD, 1, 1, object)
OP(put, FIELD, 2, 0, object)            OP(getglobal, GLOBAL, 0, 1, object)
OP(putglobal, GLOBAL, 1, 0, object)     OP(array, NOTHING, 1, 1, object)
OP(bytes, NOTHING, 1, 1, object)        OP(length, NOTHING, 1, 1, object)
OP(getat, NOTHING, 2, 1, object)        OP(putat, NOTHING, 3, 0, object)
OP(print, NOTHING, 1, 0, object)        OP(throw, NOTHING, 1, 0, object)
OP(spawn, FUNCTION, VARIES, 1, thread)  OP(join, NOTHING, 1, 1, thread)
OP(interrupt, NOTHING, 1, 0, thread)    OP(sleep, NOTHING, 1, 0, thread)
OP(self, NOTHING, 0, 1, thread)         OP(errno, NOTHING, 0, 1, thread)
OP(enter, NOTHING, 1, 0, monitor)       OP(exit, NOTHING, 1, 0, monitor)
OP(wait, NOTHING, 2, 1, monitor)        OP(notify, NOTHING, 1, 0, monitor)
OP(notifyall, NOTHING, 1, 0, monitor)
