from tvae_lib.experiments import main

main()
