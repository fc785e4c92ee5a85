/*
 * postgres_threads.h - threads that share connections to PostgreSQL, for
 * pthreads and for virtual threads: postgres.c includes it once for each, with
 * THREADS(name) for pthread_name or vthread_name.  So the two programs are the
 * same but for the prefix.
 */

/* Connections that nobody uses; and the gate, closed until all threads are
 * there. */
struct THREADS(pool) {
    THREADS(mutex_t) lock;
    THREADS(cond_t) changed;
    PGconn *free[MOST_CONNECTIONS]; /* L(lock) */
    unsigned long count;            /* L(lock) */
    unsigned long arrived;          /* L(lock) */
    bool is_open;                   /* L(lock) the gate */
};

static struct THREADS(pool) THREADS(shared);

static PGconn *THREADS(take)(struct THREADS(pool) *pool)
{
    THREADS(mutex_lock)(&pool->lock);
    while (pool->count == 0)
        THREADS(cond_wait)(&pool->changed, &pool->lock);
    PGconn *connection = pool->free[--pool->count];
    THREADS(mutex_unlock)(&pool->lock);
    return connection;
}

static void THREADS(give)(struct THREADS(pool) *pool, PGconn *connection)
{
    THREADS(mutex_lock)(&pool->lock);
    pool->free[pool->count++] = connection;
    THREADS(cond_signal)(&pool->changed);
    THREADS(mutex_unlock)(&pool->lock);
}

static void THREADS(pass_gate)(struct THREADS(pool) *pool)
{
    THREADS(mutex_lock)(&pool->lock);
    pool->arrived++;
    THREADS(cond_broadcast)(&pool->changed);
    while (!pool->is_open)
        THREADS(cond_wait)(&pool->changed, &pool->lock);
    THREADS(mutex_unlock)(&pool->lock);
}

static void THREADS(open_gate)(struct THREADS(pool) *pool)
{
    THREADS(mutex_lock)(&pool->lock);
    while (pool->arrived < threads)
        THREADS(cond_wait)(&pool->changed, &pool->lock);
    pool->is_open = true;
    THREADS(cond_broadcast)(&pool->changed);
    THREADS(mutex_unlock)(&pool->lock);
}

static void *THREADS(work)(void *number)
{
    struct THREADS(pool) *pool = &THREADS(shared);

    THREADS(pass_gate)(pool);
    for (unsigned long i = 0; i < queries; i++) {
        PGconn *connection = THREADS(take)(pool);
        ask(connection, (unsigned)((uintptr_t)number * queries + i) % ROWS);
        THREADS(give)(pool, connection);
    }
    return NULL;
}

/* One sample, from the opening of the gate until the last query. */
static void THREADS(measure)(struct sample *sample)
{
    struct THREADS(pool) *pool = &THREADS(shared);
    THREADS(t) *all = bench_allocate(threads * sizeof *all);

    memset(pool, 0, sizeof *pool);
    memcpy(pool->free, connections, sizeof connections);
    pool->count = connection_count;
    for (unsigned long i = 0; i < threads; i++)
        bench_check(THREADS(create)(&all[i], NULL, THREADS(work),
                                    (void *)(uintptr_t)i),
                    "create");
    THREADS(open_gate)(pool);
    begin_sample(sample);
    for (unsigned long i = 0; i < threads; i++)
        bench_check(THREADS(join)(all[i], NULL), "join");
    end_sample(sample);
    free(all);
}
