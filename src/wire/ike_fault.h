/* wire/ike_fault: how the IKE codec says where and why it stopped.
 */
#ifndef ADIT_WIRE_IKE_FAULT_H
#define ADIT_WIRE_IKE_FAULT_H

#include "adit/wire_ike.h"

static inline enum rc ike_fault(struct ike_error *ret, enum rc rc, const char *what, size_t offset, uint8_t payload)
{
    *ret = (struct ike_error){.what = what, .offset = offset, .payload = payload};
    return rc;
}

#endif
