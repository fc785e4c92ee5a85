/*
 * opcodes.h - the instructions: name, operand, how many values each pops and
 * pushes, and what it does.  There sp[0] is the lowest of the values that it
 * pops, and of those that it pushes; in is the instruction, t the thread.
 * Before what is an OP the frame notes where it is, for traces and handlers;
 * a QUICK one does not need that.  Whoever includes this defines both.
 */
/* clang-format off */
QUICK(push, NUMBER, 0, 1, sp[0] = in->operand)
QUICK(text, TEXT, 0, 1, sp[0] = in->operand)
QUICK(callback, CALLBACK, 0, 1, sp[0] = in->operand)
QUICK(null, NOTHING, 0, 1, sp[0] = 0)
QUICK(load, LOCAL, 0, 1, sp[0] = locals[in->operand])
QUICK(store, LOCAL, 1, 0, locals[in->operand] = sp[0])
QUICK(getglobal, GLOBAL, 0, 1, sp[0] = slot_get(&program.globals[in->operand]))
QUICK(putglobal, GLOBAL, 1, 0, slot_put(&program.globals[in->operand], sp[0]))
QUICK(dup, NOTHING, 1, 2, sp[1] = sp[0])
QUICK(pop, NOTHING, 1, 0, (void)sp)

/* Of two integers' bits the ones below add up to 2, and cancel out. */
QUICK(inc, LOCAL_NUMBER, 0, 0,
      want_integers(t, in, locals[in->slot], 1);
      locals[in->slot] += (uint64_t)in->operand << 1)
QUICK(add, NOTHING, 2, 1,
      want_integers(t, in, sp[0], sp[1]);
      sp[0] += sp[1] - 1)
QUICK(sub, NOTHING, 2, 1,
      want_integers(t, in, sp[0], sp[1]);
      sp[0] -= sp[1] - 1)
OP(mul, NOTHING, 2, 1,
   sp[0] = from_integer((uint64_t)integer_in(t, sp[0]) * integer_in(t, sp[1])))
OP(div, NOTHING, 2, 1,
   sp[0] = from_integer(integer_in(t, sp[0]) / divisor_in(t, sp[1])))
OP(mod, NOTHING, 2, 1,
   sp[0] = from_integer(integer_in(t, sp[0]) % divisor_in(t, sp[1])))

QUICK(jump, LABEL, 0, 0, next = jump(code, in))
QUICK(jeq, LABEL, 2, 0, next = sp[0] == sp[1] ? jump(code, in) : next)
QUICK(jne, LABEL, 2, 0, next = sp[0] != sp[1] ? jump(code, in) : next)
QUICK(jlt, LABEL, 2, 0,
      want_integers(t, in, sp[0], sp[1]);
      next = (int64_t)sp[0] < (int64_t)sp[1] ? jump(code, in) : next)
OP(call, FUNCTION, VARIES, 1,
   vthread_safepoint();
   sp[0] = invoke(t, function_of(in), sp))
QUICK(return, NOTHING, 1, 0, return sp[0])
QUICK(catch, HANDLER, 0, 0, (void)sp) /* known to its function from the start */
OP(throw, NOTHING, 1, 0, throw(t, object_in(t, sp[0], NULL)))

OP(new, CLASS, 0, 1,
   const struct class *class = &program.classes[in->operand];
   sp[0] = (value_t)object_new(t, class, class->fields))
OP(get, FIELD, 1, 1, sp[0] = slot_get(field_of(t, sp[0], in)))
OP(put, FIELD, 2, 0, slot_put(field_of(t, sp[0], in), sp[1]))
OP(array, NOTHING, 1, 1,
   sp[0] = (value_t)object_new(t, &class_array, length_in(t, sp[0])))
OP(getat, NOTHING, 2, 1, sp[0] = slot_get(element_of(t, sp[0], sp[1])))
OP(putat, NOTHING, 3, 0, slot_put(element_of(t, sp[0], sp[1]), sp[2]))
OP(bytes, NOTHING, 1, 1, sp[0] = bytes_new(t, length_in(t, sp[0])))
OP(length, NOTHING, 1, 1,
   sp[0] = from_integer(object_in(t, sp[0], NULL)->length))
OP(print, NOTHING, 1, 0, print(sp[0]))
QUICK(errno, NOTHING, 0, 1, sp[0] = from_integer(t->error))

OP(spawn, FUNCTION, VARIES, 1, sp[0] = thread_start(t, function_of(in), sp, 0))
OP(join, NOTHING, 1, 1, sp[0] = thread_join(t, sp[0]))
OP(interrupt, NOTHING, 1, 0, thread_interrupt(t, sp[0]))
OP(sleep, NOTHING, 1, 0, thread_sleep(t, integer_in(t, sp[0])))
QUICK(self, NOTHING, 0, 1, sp[0] = (value_t)t)
OP(enter, NOTHING, 1, 0, monitor_enter(t, sp[0]))
OP(exit, NOTHING, 1, 0, monitor_exit(t, sp[0]))
OP(wait, NOTHING, 2, 1, sp[0] = monitor_wait(t, sp[0], integer_in(t, sp[1])))
OP(notify, NOTHING, 1, 0, vthread_cond_signal(monitor_condition(t, sp[0])))
OP(notifyall, NOTHING, 1, 0,
   vthread_cond_broadcast(monitor_condition(t, sp[0])))
