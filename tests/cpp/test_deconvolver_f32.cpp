#include "deconvolver_cases.h"

int main() { return fastdeblur::tests::check_all<float>(2e-6); }
