"""The store on a Weaviate server: own, cloud or embedded."""
