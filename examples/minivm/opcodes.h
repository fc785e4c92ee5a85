/*
 * opcodes.h - the instructions: name, operand, how many values each pops and
 * pushes, and what it does.  There sp[0] is the lowest of the values that it
 * pops, and of those that it pushes; in is the instruction, t the thread.
 * Whoever includes this defines OP.
 */
/* clang-format off */
OP(push, NUMBER, 0, 1, sp[0] = in->operand)
OP(text, TEXT, 0, 1, sp[0] = in->operand)
OP(callback, CALLBACK, 0, 1, sp[0] = in->operand)
OP(null, NOTHING, 0, 1, sp[0] = 0)
OP(load, LOCAL, 0, 1, sp[0] = locals[in->operand])
OP(store, LOCAL, 1, 0, locals[in->operand] = sp[0])
OP(getglobal, GLOBAL, 0, 1, sp[0] = slot_get((value_t *)in->operand))
OP(putglobal, GLOBAL, 1, 0, slot_put((value_t *)in->operand, sp[0]))
OP(dup, NOTHING, 1, 2, sp[1] = sp[0])
OP(pop, NOTHING, 1, 0, (void)sp)

/* Of two integers' bits the ones below add up to 2, and cancel out. */
OP(inc, LOCAL_NUMBER, 0, 0,
   want_integers(t, locals[in->slot], 1);
   locals[in->slot] += (uint64_t)in->operand << 1)
OP(add, NOTHING, 2, 1, want_integers(t, sp[0], sp[1]); sp[0] += sp[1] - 1)
OP(sub, NOTHING, 2, 1, want_integers(t, sp[0], sp[1]); sp[0] -= sp[1] - 1)
OP(mul, NOTHING, 2, 1,
   sp[0] = from_integer((uint64_t)integer_in(t, sp[0]) * integer_in(t, sp[1])))
OP(div, NOTHING, 2, 1,
   sp[0] = from_integer(integer_in(t, sp[0]) / divisor_in(t, sp[1])))
OP(mod, NOTHING, 2, 1,
   sp[0] = from_integer(integer_in(t, sp[0]) % divisor_in(t, sp[1])))

OP(jump, LABEL, 0, 0, next = jump(in))
OP(jeq, LABEL, 2, 0, next = sp[0] == sp[1] ? jump(in) : next)
OP(jne, LABEL, 2, 0, next = sp[0] != sp[1] ? jump(in) : next)
OP(jlt, LABEL, 2, 0,
   want_integers(t, sp[0], sp[1]);
   next = (int64_t)sp[0] < (int64_t)sp[1] ? jump(in) : next)
OP(call, FUNCTION, VARIES, 1,
   vthread_safepoint();
   sp[0] = invoke(t, (const struct function *)in->operand, sp))
OP(return, NOTHING, 1, 0, return sp[0])
OP(catch, HANDLER, 0, 0, (void)sp) /* known to its function from the start */
OP(throw, NOTHING, 1, 0, throw(t, object_in(t, sp[0], NULL)))

OP(new, CLASS, 0, 1,
   const struct class *class = (const struct class *)in->operand;
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
OP(print, NOTHING, 1, 0, print(stdout, sp[0]))
OP(errno, NOTHING, 0, 1, sp[0] = from_integer(t->error))

OP(spawn, FUNCTION, VARIES, 1,
   sp[0] = thread_start(t, (const struct function *)in->operand, sp))
OP(join, NOTHING, 1, 1,
   struct vm_thread *other = (void *)object_in(t, sp[0], &class_thread);
   check(t, vthread_latch_wait(&other->ended));
   sp[0] = other->result)
/* One that has ended is not there any more, which is no harm. */
OP(interrupt, NOTHING, 1, 0,
   struct vm_thread *other = (void *)object_in(t, sp[0], &class_thread);
   vthread_interrupt(other->handle))
OP(sleep, NOTHING, 1, 0, check(t, vthread_sleep(time_in(t, sp[0]))))
OP(self, NOTHING, 0, 1, sp[0] = (value_t)t)
OP(enter, NOTHING, 1, 0,
   check(t, vthread_mutex_lock(&monitor_of(t, sp[0])->mutex));
   t->monitors++)
OP(exit, NOTHING, 1, 0,
   check(t, vthread_mutex_unlock(&monitor_of(t, sp[0])->mutex));
   t->monitors--)
OP(wait, NOTHING, 2, 1,
   struct monitor *m = monitor_of(t, sp[0]);
   uint64_t limit_ns = time_in(t, sp[1]);
   int err = vthread_cond_wait_until(
       &m->notified, &m->mutex,
       limit_ns > 0 ? vthread_now() + limit_ns : VTHREAD_NEVER);
   sp[0] = from_integer(check(t, err) == 0))
OP(notify, NOTHING, 1, 0, vthread_cond_signal(&entered(t, sp[0])->notified))
OP(notifyall, NOTHING, 1, 0,
   vthread_cond_broadcast(&entered(t, sp[0])->notified))
