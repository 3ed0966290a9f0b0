/* The outer sockets. Without workers one part holds them all; else the control thread's part has IKE, and every worker has a share of the
 * rest. Each belongs to its thread, so that it is opened and changed there, one after the other: the kernel numbers the sockets of port
 * 4500 as they come. */
#include "daemon.h"

struct want {
    const struct io_outer_config *config; /* to open */
    const struct io_outer_want *want;
    struct crew *crew;
    struct io_error *error;
    enum rc rc;
};

static void from_outside(void *daemon, struct pkt **v, size_t n)
{
    struct daemon *d = daemon;
    crew_from_outside(d->crew, v, n);
}

static void open_part(struct forward *f, void *arg)
{
    struct want *w = arg;
    struct io_outer_config config = *w->config;
    config.part = IO_OUTER_WORKER;
    config.worker = f->config.index;
    config.first = f->config.index ? crew_forward(w->crew, 0)->outer : NULL;
    config.pool = f->pool;
    config.packets = forward_from_outside;
    config.datagram = forward_datagram;
    config.ctx = f;
    if (w->rc == RC_OK)
        w->rc = io_outer_open(f->config.loop, &config, &f->outer, w->error);
}

enum rc sockets_open(struct daemon *d, const struct config *next, const struct io_outer_want *want, struct io_error *e)
{
    unsigned workers = crew_workers(d->crew);
    const struct io_outer_config config = {.want = *want,
                                           .part = workers ? IO_OUTER_IKE : IO_OUTER_ALL,
                                           .workers = workers,
                                           .mark = next->outer.mark,
                                           .device = next->outer.device,
                                           .packet = next->outer.mode == CONFIG_OUTER_PACKET,
                                           .pool = crew_pool(d->crew),
                                           .packets = from_outside,
                                           .datagram = traffic_datagram,
                                           .ctx = d};
    struct want w = {.config = &config, .crew = d->crew, .error = e};
    w.rc = io_outer_open(d->loop, &config, &d->outer, e);
    if (workers)
        crew_call(d->crew, open_part, &w);
    else
        crew_forward(d->crew, 0)->outer = d->outer;
    for (unsigned i = 0; w.rc == RC_OK && i < crew_size(d->crew); i++) {
        const char *trouble = io_outer_trouble(crew_forward(d->crew, i)->outer);
        if (trouble)
            LOG(&d->log, io_clock_now(), LOG_LEVEL_ERROR, "daemon.outer_mode", LOG_U64("worker", i),
                LOG_STR("reason", trouble), LOG_STR("mode", "raw"));
    }
    return w.rc;
}

static void set_part(struct forward *f, void *arg)
{
    struct want *w = arg;
    if (w->rc == RC_OK)
        w->rc = io_outer_set(f->outer, w->want, w->error);
}

enum rc sockets_set(struct daemon *d, const struct io_outer_want *want, struct io_error *e)
{
    struct want w = {.want = want, .error = e};
    w.rc = io_outer_set(d->outer, want, e);
    if (crew_workers(d->crew))
        crew_call(d->crew, set_part, &w);
    return w.rc;
}

static void close_part(struct forward *f, void *arg)
{
    (void)arg;
    io_outer_close(f->outer);
    f->outer = NULL;
}

void sockets_close(struct daemon *d)
{
    if (!d->crew)
        return;
    crew_call(d->crew, close_part, NULL);
    if (crew_workers(d->crew))
        io_outer_close(d->outer);
    d->outer = NULL;
}

uint64_t sockets_count(const struct daemon *d, enum io_outer_count c)
{
    uint64_t sum = io_outer_count(d->outer, c);
    for (unsigned i = 0; i < crew_workers(d->crew); i++)
        sum += io_outer_count(crew_forward(d->crew, i)->outer, c);
    return sum;
}
