/* Twins of kernels of frontend.h for cores with DSP instructions: the same integers. */
#ifndef LSM_FRONTEND_DSP_H
#define LSM_FRONTEND_DSP_H

#include "dsp.h"
#include "frontend.h"

#endif
