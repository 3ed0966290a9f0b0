/* customers: many customers' devices connect to a responder over UDP, `window` of them at a time, each by an identity of its own and
 * only once; their SAs stay. They share an address and port 500. For tests/bench/handshakes.
 *     customers LOCAL REMOTE FIRST COUNT WINDOW SECONDS PID PSK     identities tFIRST.1.ipsec.example.net and on
 * prints: handshakes, seconds, and nanoseconds of processor time that the responder PID used in them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "adit/io.h"
#include "lib/fatal.h"
#include "lib/measure.h"
#include "lib/parley.h"

#define WINDOW_MAX 256
#define PORT 500
#define PATIENCE_MS 10

struct customers {
    int fd;
    struct endpoint local, remote;
    struct initiator *at[WINDOW_MAX];
    size_t window;
    unsigned long next, last, count, done;
    uint64_t end;
    const char *psk;
};

static void connect_next(struct customers *c, struct initiator *i, uint64_t now)
{
    initiator_gone(i);
    initiator_forget_out(i);
    if (now >= c->end || c->next == c->last)
        return;
    i->wish.id = (struct identity){.type = ID_FQDN};
    i->wish.id.n =
        (uint16_t)snprintf((char *)i->wish.id.data, sizeof i->wish.id.data, "t%lu.1.ipsec.example.net", c->next++);
    initiator_connect(i, now);
}

static void flush(struct customers *c, struct initiator *i)
{
    for (size_t k = 0; k < i->n_out; k++) {
        const struct initiator_out *o = &i->out[k];
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(o->to.port)};
        memcpy(&to.sin_addr, o->to.addr.b, 4);
        MUST(o->to.port == PORT); /* there is no NAT */
        ssize_t n = sendto(c->fd, o->bytes.p, o->bytes.n, 0, (struct sockaddr *)&to, sizeof to);
        MUST(n == (ssize_t)o->bytes.n || errno == EAGAIN || errno == ENOBUFS); /* lost: it is sent again */
    }
    initiator_forget_out(i);
}

/* Whose is it? The first eight octets of every message are the initiator's SPI. */
static struct initiator *owner(const struct customers *c, uint64_t spi_i)
{
    for (size_t k = 0; k < c->window; k++)
        for (size_t s = 0; s < c->at[k]->n_sas; s++)
            if (c->at[k]->sa[s]->s.spi_i == spi_i)
                return c->at[k];
    return NULL;
}

static void receive(struct customers *c)
{
    uint8_t b[65536];
    ssize_t n;
    while ((n = recv(c->fd, b, sizeof b, MSG_DONTWAIT)) > 0) {
        uint64_t now = clock_ns(CLOCK_MONOTONIC);
        struct ike_header h;
        struct span datagram = span_of(b, (size_t)n);
        struct initiator *i = ike_header_read(datagram, &h) == RC_OK ? owner(c, h.spi_i) : NULL;
        if (!i)
            continue;
        initiator_input(i, now, &c->remote, &c->local, datagram);
        if (initiator_current(i)) {
            MUST(i->n_children == 1); /* a handshake without its child is not the one that is measured */
            c->done += now < c->end;
            connect_next(c, i, now);
        } else if (i->refused) {
            fprintf(stderr, "refused: notify %u\n", i->refused);
            exit(1);
        }
        flush(c, i);
    }
    MUST(n > 0 || errno == EAGAIN || errno == EINTR || errno == ECONNREFUSED);
}

static void run(struct customers *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    while (clock_ns(CLOCK_MONOTONIC) < c->end && c->done < c->count) {
        MUST(poll(&p, 1, PATIENCE_MS) >= 0 || errno == EINTR);
        receive(c);
        uint64_t now = clock_ns(CLOCK_MONOTONIC);
        for (size_t k = 0; k < c->window; k++) {
            if (initiator_deadline(c->at[k]) > now)
                continue;
            initiator_tick(c->at[k], now);
            flush(c, c->at[k]);
        }
    }
}

static int open_socket(const struct endpoint *local)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), size = 4 << 20;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    memcpy(&at.sin_addr, local->addr.b, 4);
    MUST(fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    return fd;
}

int main(int argc, char **argv)
{
    static struct customers c;
    struct io_entropy *entropy;
    struct io_error error;
    struct crypto *crypto;
    clockid_t responder;
    MUST(argc == 9);
    MUST(addr_parse(argv[1], &c.local.addr) == RC_OK && addr_parse(argv[2], &c.remote.addr) == RC_OK);
    c.local.port = c.remote.port = PORT;
    c.next = strtoul(argv[3], NULL, 10);
    c.count = strtoul(argv[4], NULL, 10);
    c.last = c.next + c.count;
    c.window = strtoul(argv[5], NULL, 10);
    uint64_t ns = (uint64_t)(strtod(argv[6], NULL) * 1e9);
    MUST(c.window > 0 && c.window <= WINDOW_MAX && c.count > 0 && ns > 0);
    MUST(clock_getcpuclockid((pid_t)strtol(argv[7], NULL, 10), &responder) == 0);
    c.fd = open_socket(&c.local);
    MUST(io_entropy_new(&entropy, &error) == RC_OK);
    struct rng rng = io_entropy_rng(entropy);
    MUST(crypto_new(&rng, &crypto) == RC_OK);
    for (size_t k = 0; k < c.window; k++) {
        MUST((c.at[k] = initiator_new_on(crypto, &rng, argv[1], argv[2])) != NULL);
        c.at[k]->wish.psk = argv[8];
        c.at[k]->wish.ike = parley_ike(KE_ECP384, KE_ML_KEM_768);
        c.at[k]->wish.esp = parley_esp();
    }
    uint64_t began = clock_ns(CLOCK_MONOTONIC), cpu = clock_ns(responder);
    c.end = began + ns;
    for (size_t k = 0; k < c.window; k++) {
        connect_next(&c, c.at[k], began);
        flush(&c, c.at[k]);
    }
    run(&c);
    cpu = clock_ns(responder) - cpu;
    double seconds = (double)(clock_ns(CLOCK_MONOTONIC) - began) / 1e9;
    MUST(c.done > 0);
    printf("%lu %.3f %llu\n", c.done, seconds, (unsigned long long)cpu);
    for (size_t k = 0; k < c.window; k++)
        initiator_free(c.at[k]);
    crypto_free(crypto);
    io_entropy_free(entropy);
    close(c.fd);
    return 0;
}
