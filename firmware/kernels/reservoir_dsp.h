/* Twins of kernels of reservoir.h for cores with DSP instructions: the same integers. */
#ifndef LSM_RESERVOIR_DSP_H
#define LSM_RESERVOIR_DSP_H

#include "dsp.h"
#include "reservoir.h"

#endif
