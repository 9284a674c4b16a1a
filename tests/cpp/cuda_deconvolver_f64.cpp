#include "cuda_deconvolver_cases.h"
#include "cuda_error_cases.h"

int main() {
  fastdeblur::tests::check_all<double>();
  return fastdeblur::tests::check_errors<double>();
}
