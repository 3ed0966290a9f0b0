/* An edge and one peer, hand to hand; see pair.h. */
#include "pair.h"

#include "agree.h"

struct pair *pair_new(const struct ike_policy *policy)
{
    return pair_new_on(NULL, policy);
}

struct pair *pair_new_on(struct crypto *crypto, const struct ike_policy *policy)
{
    struct pair *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->tape.seed = 2;
    p->rng = (struct rng){tape_fill, &p->tape};
    p->e = edge_new_on(crypto, policy, 1);
    p->i = initiator_new_on(crypto, &p->rng, "192.0.2.2", EDGE_ADDRESS);
    return p;
}

void pair_free(struct pair *p)
{
    if (!p)
        return;
    edge_free(p->e);
    initiator_free(p->i);
    parcel_clear(&p->sent);
    free(p);
}

static struct path path_of(const struct pair *p, const struct initiator_out *o)
{
    return (struct path){.local = o->to, .remote = p->seen.addr.family ? p->seen : o->from};
}

void pair_give(struct pair *p)
{
    assert_true(p->i->n_out > 0);
    parcel_clear(&p->sent);
    for (size_t k = 0; k < p->i->n_out; k++)
        parcel_add(&p->sent, buf_span(&p->i->out[k].bytes));
    p->path = path_of(p, &p->i->out[0]);
    initiator_forget_out(p->i);
    pair_give_again(p);
}

void pair_give_again(struct pair *p)
{
    edge_clear(p->e);
    for (size_t k = 0; k < p->sent.n; k++)
        edge_input(p->e, &p->path, buf_span(&p->sent.v[k]));
}

void pair_give_octets(struct pair *p, struct span s)
{
    edge_clear(p->e);
    edge_input(p->e, &p->path, s);
}

bool pair_take(struct pair *p)
{
    bool any = false;
    for (size_t k = 0; k < p->e->acts.n; k++) {
        const struct act *act = &p->e->acts.v[k];
        if (act->type != ACT_SEND)
            continue;
        struct endpoint to = {p->i->local.addr, act->path.local.port};
        initiator_input(p->i, p->e->now, &act->path.local, &to, buf_span(&act->datagram));
        any = true;
    }
    edge_clear(p->e);
    return any;
}

void pair_step(struct pair *p)
{
    assert_true(pair_take(p));
    pair_give(p);
}

void pair_connect_to(struct pair *p, uint8_t exchange)
{
    initiator_connect(p->i, p->e->now);
    for (;;) {
        struct ike_header h;
        assert_true(p->i->n_out > 0);
        OK(ike_header_read(buf_span(&p->i->out[0].bytes), &h));
        if (h.exchange == exchange)
            break;
        pair_give(p);
        assert_true(pair_take(p));
    }
}

void pair_carry(struct pair *p)
{
    for (unsigned n = 0; p->i->n_out || edge_sent(p->e); n++) {
        assert_true(n < 1000);
        pair_take(p);
        if (p->i->n_out)
            pair_give(p);
    }
}

void pair_pass(struct pair *p, uint64_t ns)
{
    uint64_t end = p->e->now + ns;
    for (;;) {
        uint64_t a = ike_deadline(p->e->ike), b = initiator_deadline(p->i), at = a < b ? a : b;
        if (at > end)
            break;
        if (at > p->e->now)
            p->e->now = at;
        edge_tick(p->e);
        initiator_tick(p->i, p->e->now);
        pair_carry(p);
    }
    p->e->now = end;
}

void pair_connect(struct pair *p)
{
    initiator_connect(p->i, p->e->now);
    pair_give(p);
    while (!edge_act(p->e, ACT_UP)) { /* so that a test finds the actions of IKE_AUTH */
        assert_true(pair_take(p));
        if (!p->i->n_out)
            fail_msg("no handshake: notify %u, %s", p->i->refused, p->e->reason);
        pair_give(p);
    }
    for (size_t k = 0; k < p->e->acts.n; k++) /* the answers are taken, the actions stay to be looked at */
        if (p->e->acts.v[k].type == ACT_SEND)
            initiator_input(p->i, p->e->now, &p->path.local, &p->path.remote, buf_span(&p->e->acts.v[k].datagram));
    assert_non_null(initiator_current(p->i));
}

bool pair_ask(struct pair *p, uint8_t exchange, struct ike_writer *iw)
{
    struct span inner;
    OK(ike_write_finish(iw, &inner));
    struct initiator_sa *sa = initiator_current(p->i);
    initiator_say(p->i, p->e->now, exchange, ike_write_first(iw), inner);
    pair_give(p);
    for (size_t k = 0; k < p->e->acts.n; k++)
        if (p->e->acts.v[k].type == ACT_SEND)
            initiator_input(p->i, p->e->now, &p->path.local, &p->path.remote, buf_span(&p->e->acts.v[k].datagram));
    if (sa->own.job.type == JOB_NONE)
        return true;
    initiator_done(sa); /* unanswered: the next request takes its number */
    sa->mid_out--;
    return false;
}

struct ike_header pair_header(const struct pair *p, size_t n)
{
    struct ike_header h;
    for (size_t k = 0; k < p->e->acts.n; k++)
        if (p->e->acts.v[k].type == ACT_SEND && n-- == 0) {
            OK(ike_header_read(buf_span(&p->e->acts.v[k].datagram), &h));
            return h;
        }
    fail_msg("no such datagram");
    return (struct ike_header){0};
}

uint16_t pair_plain_notify(struct pair *p, struct ike_notify *ret)
{
    struct ike_chain chain;
    struct ike_error error;
    if (edge_sent(p->e) != 1)
        return 0;
    struct span d = buf_span(&edge_act(p->e, ACT_SEND)->datagram);
    struct ike_header h = pair_header(p, 0);
    struct rd r = rd_of(d);
    rd_take(&r, IKE_HEADER_SIZE);
    if (ike_chain_read(h.next, rd_rest(&r), &chain, &error) != RC_OK || chain.n != 1 ||
        chain.v[0].type != PAYLOAD_NOTIFY)
        return 0;
    OK(ike_notify_read(chain.v[0].body, ret));
    return ret->type;
}

void pair_assert_agree(struct pair *p)
{
    agree_assert(p->e, EDGE_TUNNEL, p->i);
}
