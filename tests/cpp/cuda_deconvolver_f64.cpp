#include "cuda_deconvolver_cases.h"

int main() { return fastdeblur::tests::check_all<double>(); }
