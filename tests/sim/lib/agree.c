/* Do an edge and its peer hold the same? See agree.h. */
#include "agree.h"

static const struct initiator_child *counterpart(const struct initiator *i, const struct child_sa *c)
{
    for (size_t k = 0; k < i->n_children; k++)
        if (i->child[k].spi_in == c->spi_out && i->child[k].spi_out == c->spi_in)
            return &i->child[k];
    return NULL;
}

static void same_child(const struct child_sa *a, const struct initiator_child *b)
{
    assert_non_null(b);
    assert_int_equal(a->key_len, b->key_len);
    assert_memory_equal(a->key_in, b->key_out, a->key_len);
    assert_memory_equal(a->key_out, b->key_in, a->key_len);
    assert_int_equal(a->alg.encr, b->suite.encr);
    assert_int_equal(a->alg.encr_bits, b->suite.encr_bits);
    assert_int_equal(a->alg.integ, b->suite.integ);
    assert_true(addr_equal(&a->ts_local.first, &b->ts_remote.first));
    assert_true(addr_equal(&a->ts_remote.last, &b->ts_local.last));
}

void agree_assert(const struct edge *e, uint32_t tunnel, const struct initiator *i)
{
    size_t up = 0, n = 0, children = 0;
    for (size_t k = 0; k < e->n_children; k++) {
        if (e->child[k].tunnel != tunnel)
            continue;
        same_child(&e->child[k], counterpart(i, &e->child[k]));
        children++;
    }
    assert_int_equal(children, i->n_children);
    for (size_t k = 0; k < i->n_sas; k++)
        up += i->sa[k]->stage == STAGE_UP;
    struct ike_sa_info info;
    for (size_t c = ike_sa_next(e->ike, 0, &info); c; c = ike_sa_next(e->ike, c, &info)) {
        if (info.tunnel != tunnel)
            continue;
        bool found = false;
        n++;
        for (size_t k = 0; k < i->n_sas; k++)
            found |= i->sa[k]->stage == STAGE_UP && i->sa[k]->s.spi_i == info.spi_i && i->sa[k]->s.spi_r == info.spi_r;
        assert_true(found);
        assert_true(info.established);
    }
    assert_int_equal(n, up);
}
