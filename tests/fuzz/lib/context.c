/* See context.h. */
#include "context.h"

#include "unit/lib/unit.h"
#include "unit/lib/vectors.h"

struct crypto *fuzz_crypto(void)
{
    static struct tape tape;
    static const struct rng rng = {tape_fill, &tape};
    static struct crypto *crypto;
    tape = (struct tape){.seed = 3};
    if (!crypto) {
        OK(crypto_new(&rng, &crypto));
        tape = (struct tape){.seed = 3};
    }
    return crypto;
}
