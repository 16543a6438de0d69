"""What `controlplane.client.clustering.Proxy` is made of: Senlin's words, resources and methods over our procedures."""
